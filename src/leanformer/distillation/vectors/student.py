"""A new student of a sentence encoder, which the settings describe."""

from leanformer.evaluation.sentence_encoder import Pooled, SentenceEncoder
from leanformer.models import LeanformerConfig, LeanformerModel
from leanformer.models.initialisation import initialise
from leanformer.models.sentence_pooling import SentencePooling
from leanformer.settings import Settings


def fresh(teacher: SentenceEncoder, settings: Settings) -> SentenceEncoder:
    """Returns a new encoder as [model] of the settings says, in the teacher's tokens.

    Of the teacher's width it has the teacher's parts behind the encoder, too; else the mean of its states.
    """
    same = ("vocab_size", "max_position_embeddings", "pad_token_id", "type_vocab_size")
    own = {name: getattr(teacher.config, name) for name in same}
    config = LeanformerConfig.from_settings(own | settings.model)
    if config.vocab_size < len(teacher.tokenizer):
        raise ValueError(
            f"model.vocab_size = {config.vocab_size}: the teacher's tokenizer has {len(teacher.tokenizer)} tokens; "
            "leave it out"
        )
    encoder = LeanformerModel(config, add_pooling_layer=False)
    initialise(encoder, settings.training.seed)
    length = min(teacher.length, config.max_position_embeddings)
    if config.hidden_size == teacher.config.hidden_size:
        model = Pooled(encoder, teacher.model.pool, teacher.model.prompt_length)
        return SentenceEncoder(model, teacher.tokenizer, length, teacher.folder, teacher.parts, teacher.prompt)
    return SentenceEncoder(Pooled(encoder, SentencePooling(("mean",))), teacher.tokenizer, length, teacher.folder)
