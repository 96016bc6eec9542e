"""Packed documents kept apart: a token attends to its own document only, and each document's positions start at 0.

With d_i the number of the document of token i, and i_0 the first token of the sequence with that number,

    token i may attend to token j if d_i = d_j,    position of token i = i - i_0

so a sequence of several documents gives the same results as each document alone. A document that the end of a sequence
cuts continues in the next sequence, from position 0: the model never sees both parts at once, masked or not.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from leanformer.attention import mechanism, mixer
from leanformer.models.config import LeanformerConfig


def within_documents(documents_BL: Tensor) -> dict[str, Tensor]:
    """Returns `attention_mask` (B, L, L), boolean, and `position_ids` (B, L), from each token's document number."""
    begins_BL = pad(documents_BL[:, 1:] != documents_BL[:, :-1], (1, 0))
    places_L = torch.arange(documents_BL.shape[1], device=documents_BL.device)
    first_BL = torch.where(begins_BL, places_L, 0).cummax(dim=1).values
    mask_BLL = documents_BL[:, :, None] == documents_BL[:, None, :]
    return {"attention_mask": mask_BLL, "position_ids": places_L - first_BL}


def require_document_mask(config: LeanformerConfig) -> None:
    """ValueError if a model of this config cannot keep documents apart."""
    if not mixer(config.mixer).any_mask:
        raise ValueError(
            f"training.document_mask with model.mixer = {config.mixer!r}: it cannot keep to documents, leave it out"
        )
    if not mechanism(config.attention).cross:
        raise ValueError(
            f"training.document_mask with {config.attention}: its table of positions is shared by all sequences, and "
            "no two have their documents at the same places; leave it out"
        )
