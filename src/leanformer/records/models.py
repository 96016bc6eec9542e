"""config.json, conversion.json, the index of weights in several files, and the files of sentence-transformers.

config.json is read by transformers, which builds whatever it says: a table of 2^63 labels, say. So it is checked first.
A model may have up to 2^16 labels.
"""

from typing import Annotated, Any

from pydantic import Field

from leanformer.records.data import FileName
from leanformer.records.reading import Count, Number, Record

Size = Annotated[int, Field(gt=0, le=2**24)]
Rows = Annotated[int, Field(ge=0, le=2**32)]
Layers = Annotated[int, Field(gt=0, le=10_000)]
Id = Annotated[int, Field(ge=-1, lt=2**32)]
DType = Annotated[str, Field(pattern=r"^(torch\.)?(auto|bfloat16|float(16|32|64)|float8_e4m3fn|float8_e5m2)$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Labels(Record):
    """What of any model's config.json is built as it is read."""

    num_labels: Annotated[int, Field(ge=0, le=2**16)] | None = None
    id2label: dict[Annotated[str, Field(pattern=r"^-?\d{1,9}$")], Any] | None = None
    label2id: dict[str, Any] | None = None


class Config(Labels):
    """config.json of a model of any family, as far as sizes, names and types go; what they mean is the family's."""

    model_type: str | None = None
    architectures: list[str] | None = None
    auto_map: dict[str, Any] | None = None
    transformers_version: str | None = None
    attn_implementation_: str | dict[str, Any] | None = Field(default=None, alias="_attn_implementation")
    attn_implementation: str | dict[str, Any] | None = None
    dtype: DType | dict[str, Any] | None = None
    torch_dtype: DType | dict[str, Any] | None = None
    quantization_config: None = None
    """The settings of weights that are not plain numbers, which nothing here reads."""
    problem_type: str | None = None
    vocab_size: Rows | None = None
    max_position_embeddings: Rows | None = None
    type_vocab_size: Rows | None = None
    hidden_size: Size | None = None
    embedding_size: Size | None = None
    intermediate_size: Size | None = None
    head_size: Size | None = None
    num_attention_heads: Size | None = None
    dim: Size | None = None
    """DistilBERT's hidden_size; the three below are its intermediate_size, layers and heads."""
    hidden_dim: Size | None = None
    n_layers: Layers | None = None
    n_heads: Size | None = None
    num_hidden_layers: Layers | None = None
    num_decoder_layers: Layers | None = None
    feed_forward_groups: Size | None = None
    pad_token_id: Id | None = None
    bos_token_id: Id | None = None
    eos_token_id: Id | list[Id] | None = None
    decoder_start_token_id: Id | None = None
    hidden_act: str | None = None
    pooler_act: str | None = None
    initializer_range: Finite | None = None
    layer_norm_eps: Finite | None = None
    rotary_base: Finite | None = None
    sliding_window: Size | None = None
    global_attn_every_n_layers: Size | None = None
    local_rotary_base: Finite | None = None
    tie_word_embeddings: bool | None = None
    output_attentions: bool | None = None
    output_hidden_states: bool | None = None
    return_dict: bool | None = None


class Conversion(Record):
    """What `leanformer convert` says of the model it made."""

    source: str | None = None
    attention: str | None = None
    notes: list[str] = []


class CachedGraph(Record):
    """graph.json: of which model the ONNX graphs beside it are, and what int8 costs."""

    weights_sha256: str
    config_sha256: str
    difference: Number
    bytes: dict[FileName, Count]
    int8: dict[str, Any] | None = None


class WeightIndex(Record):
    weight_map: dict[str, FileName]
    metadata: dict[str, Any] | None = None


class SentenceModule(Record):
    """An entry of modules.json: a part of a sentence-transformers model, the class it is loaded as, and its folder."""

    path: str
    type: str


class SentenceReading(Record):
    """sentence_bert_config.json: how texts are read."""

    max_seq_length: Annotated[int, Field(gt=0, le=2**32)] | None = None
    do_lower_case: bool = False


class TokenizerLength(Record):
    """tokenizer_config.json: the most tokens of a text; transformers writes 1e30 where there is no limit."""

    model_max_length: Annotated[int | float, Field(gt=0)] | None = None


class SentencePrompts(Record):
    """config_sentence_transformers.json: texts that are put before a text, by their names."""

    prompts: dict[str, str | None] = {}
    default_prompt_name: str | None = None


class Pooling(Record):
    """config.json of a pooling part: one or several modes, in older files as one switch for each."""

    pooling_mode: str | list[str] | None = None
    include_prompt: bool = True


class Dense(Record):
    """config.json of a dense part."""

    in_features: Size
    out_features: Size
    bias: bool = True
    activation_function: str = "torch.nn.modules.activation.Tanh"
    module_input_name: str = "sentence_embedding"
    module_output_name: str | None = None
    use_residual: bool = False


class Normalize(Record):
    """config.json of a part that scales vectors to length one; older models have no such file."""

    module_input_name: str = "sentence_embedding"
    module_output_name: str | None = None


class LayerNorm(Record):
    """config.json of a layer-norm part."""

    dimension: Size
