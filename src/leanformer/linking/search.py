"""The names nearest to a query, by cosine: one matrix product, in blocks of queries.

    s_qn = round(2^20 query_q . name_n)        vectors of unit length

The answer is the k names of greatest s, a tie to the earlier name. Cosines that differ by less than 2^-20 may be one
number here, since a product's last bits depend on how it is cut into blocks, and an answer must not.

Q queries, N names, D width, C candidates.
"""

from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

Vectors: TypeAlias = NDArray[np.float32] | csr_array
"""(N, D), a row a text."""

STEPS = 2**20
"""Of the cosine between 0 and 1."""
CELLS = 2**24
"""Of the table of cosines of a block of queries: 64 MiB."""


def nearest(queries: Vectors, names: Vectors, k: int) -> NDArray[np.int64]:
    """Returns the numbers (Q, k) of names, nearest first; all of them if there are fewer than k."""
    size = names.shape[0]
    k, block = min(k, size), max(1, CELLS // size)
    found = [np.empty((0, k), np.int64)]
    for start in range(0, queries.shape[0], block):
        found.append(_greatest(_cosines(queries[start : start + block], names).mul_(STEPS).round_(), k))
    return np.concatenate(found)


def size_of(vectors: Vectors) -> int:
    """Returns the number of bytes."""
    if isinstance(vectors, csr_array):
        return vectors.data.nbytes + vectors.indices.nbytes + vectors.indptr.nbytes
    return vectors.nbytes


def _greatest(scores_QN: torch.Tensor, k: int) -> NDArray[np.int64]:
    """Returns (Q, k). A partial sort breaks ties as it likes, so it only says what the k-th greatest is, and all that
    reach it are sorted."""
    least_Q1 = scores_QN.topk(k, dim=1).values[:, -1:]
    query_C, name_C = (scores_QN >= least_Q1).nonzero(as_tuple=True)
    score_C = scores_QN[query_C, name_C]
    order_C = np.lexsort((name_C.numpy(), -score_C.numpy(), query_C.numpy()))
    first_Q = np.searchsorted(query_C.numpy(), np.arange(len(scores_QN)))  # sorted by query before and after
    return name_C.numpy()[order_C][first_Q[:, None] + np.arange(k)]


def _cosines(queries: Vectors, names: Vectors) -> torch.Tensor:
    """Returns (Q, N), float32."""
    if isinstance(names, csr_array):
        return torch.from_numpy((queries @ names.T).toarray())
    return torch.from_numpy(queries) @ torch.from_numpy(names).T
