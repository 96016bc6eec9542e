"""Shared-weight attention (Kowsher, Prottasha, Yu, Ozmen Garibay and Yousefi, 2024, "Does Self-Attention Need Separate
Weights in Transformers?", NAACL 2025 industry track).

One matrix W_s and bias b_s for query, key and value, told apart by three diagonals of width D:

    s = x W_s + b_s,    q = s D_q,   k = s D_k,   v = s D_v,    logit_h(i, j) = q_i . k_j / sqrt(K)

D^2 + D + 3 D weights against 3 (D^2 + D): 66.5 % fewer in the block of three projections at any usual width. Scores are
symmetric whatever the diagonals, since q_i . k_j = s_i (D_q D_k) s_j', but may be indefinite, unlike `symmetric`.
The function class is that of q = k = v with a sign for every channel: |D_q D_k| can move into W_s, D_v into W_o.

The text leaves open whether W_s has a bias (`bias`, true here as in BERT), how the diagonals start (`scale_init`) and
whether the scale is the square root of the width or of the head size (the head size here, as every multi-head BERT).
"""

from leanformer.attention.projections import SharedAll
from leanformer.attention.registry import Mechanism, mechanism, register

register(Mechanism("shared", SharedAll, mechanism("dot_product").compatibility, "Kowsher et al. 2024"))
