"""One vector per text from the states of its tokens, as the parts of a sentence-transformers model compute it.

    mean                    sum_t m_t h_t / n           cls          h_t of the first token
    mean_sqrt_len_tokens    sum_t m_t h_t / sqrt(n)     lasttoken    h_t of the last token
    weightedmean            sum_t p_t m_t h_t / sum_t p_t m_t        max    max_t h_t of each coordinate

over the tokens t of the text, [CLS] and [SEP] among them and padding not; h the encoder's last states, m the mask,
n = sum_t m_t and p_t = 1, 2, ... the position. Several poolings are joined to one vector. What may follow:

    Dense        f(A v + b), plus v or C v if it has a residual
    Normalize    v / |v|
    LayerNorm    of the vector's coordinates

Reimers and Gurevych (2019); https://sbert.net. B batch, L length, D width; padding is on the right.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from leanformer.models.sentence_parts import AGAIN, WITHOUT_PARTS, SentenceParts, class_name
from leanformer.records import models as records
from leanformer.records import reading

Pool = Callable[[Tensor, Tensor], Tensor]
"""(B, L, D) states and (B, L) mask -> (B, D)"""
OLD_SWITCHES = {
    "cls_token": "cls",
    "max_tokens": "max",
    "mean_tokens": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "weightedmean_tokens": "weightedmean",
    "lasttoken": "lasttoken",
}
"""Names of the modes in older files, `pooling_mode_...`, in the order in which several are joined."""
SENTENCE, TOKENS = "sentence_embedding", "token_embeddings"


def _sum(states_BLD: Tensor, weights_BL: Tensor) -> Tensor:
    return (states_BLD * weights_BL[..., None].to(states_BLD.dtype)).sum(1)


def _count(weights_BL: Tensor) -> Tensor:
    return weights_BL.sum(1, keepdim=True).clamp(min=1)


def _at(states_BLD: Tensor, place_B: Tensor) -> Tensor:
    return states_BLD[torch.arange(len(states_BLD), device=states_BLD.device), place_B]


def _max(states_BLD: Tensor, mask_BL: Tensor) -> Tensor:
    greatest_BD = states_BLD.masked_fill(mask_BL[..., None] == 0, float("-inf")).amax(1)
    return greatest_BD.masked_fill(mask_BL.sum(1, keepdim=True) == 0, 0.0)


def _weighted(states_BLD: Tensor, mask_BL: Tensor) -> Tensor:
    weights_BL = mask_BL * torch.arange(1, mask_BL.shape[1] + 1, device=mask_BL.device)
    return _sum(states_BLD, weights_BL) / _count(weights_BL)


def _last(states_BLD: Tensor, mask_BL: Tensor) -> Tensor:
    places_L = torch.arange(mask_BL.shape[1], device=mask_BL.device)
    return _at(states_BLD, (mask_BL * places_L).argmax(1))


POOL: Mapping[str, Pool] = {
    "mean": lambda states_BLD, mask_BL: _sum(states_BLD, mask_BL) / _count(mask_BL),
    "cls": lambda states_BLD, mask_BL: _at(states_BLD, mask_BL.int().argmax(1)),
    "max": _max,
    "mean_sqrt_len_tokens": lambda states_BLD, mask_BL: _sum(states_BLD, mask_BL) / _count(mask_BL).sqrt(),
    "weightedmean": _weighted,
    "lasttoken": _last,
}


class SentencePooling(nn.Module):
    """Poolings, joined, and what follows them: states (B, L, D) and a mask (B, L) to vectors (B, E).

    With `include_prompt` false, the first `prompt_length` tokens, those of a prompt, are left out.
    """

    def __init__(self, modes: tuple[str, ...], then: tuple[nn.Module, ...] = (), include_prompt: bool = True) -> None:
        super().__init__()
        self.modes, self.include_prompt, self.then = modes, include_prompt, nn.Sequential(*then)

    def forward(self, states_BLD: Tensor, mask_BL: Tensor, prompt_length: int = 0) -> Tensor:
        if prompt_length and not self.include_prompt:
            mask_BL = mask_BL * (torch.arange(mask_BL.shape[1], device=mask_BL.device) >= prompt_length)
        pooled: Tensor = self.then(torch.cat([POOL[mode](states_BLD, mask_BL) for mode in self.modes], dim=-1))
        return pooled


class Dense(nn.Module):
    def __init__(self, inner: int, outer: int, bias: bool, activation: nn.Module, residual: bool) -> None:
        super().__init__()
        self.linear, self.activation = nn.Linear(inner, outer, bias), activation
        self.residual: nn.Module | None = None
        if residual:
            self.residual = nn.Identity() if inner == outer else nn.Linear(inner, outer, bias=False)

    def forward(self, vector_BD: Tensor) -> Tensor:
        found: Tensor = self.activation(self.linear(vector_BD))
        return found if self.residual is None else found + self.residual(vector_BD)


class Normalize(nn.Module):
    def forward(self, vector_BD: Tensor) -> Tensor:
        return F.normalize(vector_BD, dim=-1)


class LayerNorm(nn.Module):
    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dimension)

    def forward(self, vector_BD: Tensor) -> Tensor:
        found: Tensor = self.norm(vector_BD)
        return found


def sentence_pooling(parts: SentenceParts, width: int) -> SentencePooling:
    """Returns what the parts compute of states of this width, with their weights in float32.

    Raises ValueError for a part of another kind, and for one of another width than it is given.
    """
    first, *others = parts.modules or ({"type": "no part"},)
    if class_name(first) != "Pooling":
        raise ValueError(_unknown(parts, class_name(first)))
    settings = reading.read(parts.settings(first), records.Pooling, AGAIN)
    modes = settings.get("pooling_mode")
    if modes is None:
        modes = [mode for old, mode in OLD_SWITCHES.items() if settings.get(f"pooling_mode_{old}")] or "mean"
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    if not modes:
        raise ValueError(f"{parts.settings(first)}: pooling_mode is empty: {AGAIN}")
    if unknown := [mode for mode in modes if mode not in POOL]:
        raise ValueError(_unknown(parts, f"pooling of the mode {unknown[0]!r}"))
    then, width = list[nn.Module](), width * len(modes)
    for module in others:
        if class_name(module) == "Dropout":
            continue
        part = _part(parts, module)
        reads, gives = _widths(part)
        if reads not in (None, width):
            raise ValueError(
                f"{parts.settings(module)} describes a {class_name(module)} of vectors of {reads} numbers, and those "
                f"before it have {width}: {AGAIN}"
            )
        then.append(part)
        width = gives or width
    return SentencePooling(modes, tuple(then), settings.get("include_prompt", True)).eval().requires_grad_(False)


def _widths(part: nn.Module) -> tuple[int | None, int | None]:
    """Returns how many numbers a part reads and gives; None for one that takes any and keeps them."""
    if isinstance(part, Dense):
        return part.linear.in_features, part.linear.out_features
    return (part.norm.normalized_shape[0], None) if isinstance(part, LayerNorm) else (None, None)


def _part(parts: SentenceParts, module: dict[str, Any]) -> nn.Module:
    name = class_name(module)
    schemas: dict[str, type[reading.Record]] = {
        "Dense": records.Dense,
        "Normalize": records.Normalize,
        "LayerNorm": records.LayerNorm,
    }
    schema = schemas.get(name)
    if schema is None:
        raise ValueError(_unknown(parts, name))
    path = parts.settings(module)
    given = reading.read(path, schema, AGAIN) if path.is_file() else {}
    settings = schema.model_validate(given).model_dump()
    ends = {settings.get("module_input_name", SENTENCE), settings.get("module_output_name") or SENTENCE}
    if ends != {SENTENCE}:
        raise ValueError(_unknown(parts, f"{name} of {' and '.join(sorted(ends - {SENTENCE}))}"))
    if name == "Normalize":
        return Normalize()
    made: nn.Module
    if name == "LayerNorm":
        made = LayerNorm(settings["dimension"])
    else:
        activation = _activation(parts, settings["activation_function"])
        sizes = settings["in_features"], settings["out_features"]
        made = Dense(*sizes, settings["bias"], activation, settings["use_residual"])
    weights = path.with_name("model.safetensors")
    try:
        made.load_state_dict(load_file(weights))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{weights} does not hold the weights of its {name} ({reason}): {AGAIN}") from None
    return made


def _activation(parts: SentenceParts, name: str) -> nn.Module:
    """torch.nn.modules.activation.Tanh -> Tanh()"""
    kind = getattr(nn, name.rpartition(".")[2], None)
    if not name.startswith("torch.nn.") or not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise ValueError(_unknown(parts, f"Dense with the activation {name}"))
    try:
        return kind()
    except TypeError:  # a module that needs arguments is no activation
        raise ValueError(_unknown(parts, f"Dense with the activation {name}")) from None


def _unknown(parts: SentenceParts, what: str) -> str:
    known = "Pooling and then Dense, Normalize or LayerNorm of one vector per text"
    return (
        f"{parts.folder} has {what} among its sentence-transformers parts, where leanformer follows {known}: encode "
        f"with sentence-transformers, which loads this folder, or {WITHOUT_PARTS}"
    )
