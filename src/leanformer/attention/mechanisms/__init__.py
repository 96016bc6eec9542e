"""One file per paper, imported in reading order: the baseline first."""

from leanformer.attention.mechanisms import dot_product, symmetric, shared, phased, multi_query, synthesizer  # noqa: F401, I001  reading order
from leanformer.attention.mechanisms import identity_query, slim, latent, relative_bias, position_2d  # noqa: F401, I001
