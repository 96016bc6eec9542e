"""What mixers other than attention can read in a mask: which places hold a token."""

from torch import Tensor

from leanformer.attention.shared_rows import separated


def tokens_of(mask: Tensor | None) -> Tensor | None:
    """(B, L), True where there is a token, of a mask that is the same for all queries; ValueError for any other."""
    parts = separated(mask)
    if parts is None or parts[0] is not None:
        raise ValueError(
            "the mask says which pairs of tokens may meet, and this mixer can only be told which tokens there are, "
            "(B, L): leave out training.document_mask, or take mixer 'attention'"
        )
    return parts[1]


def without_padding(x_BLD: Tensor, mask: Tensor | None) -> Tensor:
    """x with zeros where there is no token, whatever stood there."""
    tokens_BL = tokens_of(mask)
    return x_BLD if tokens_BL is None else x_BLD.masked_fill(~tokens_BL[..., None], 0.0)
