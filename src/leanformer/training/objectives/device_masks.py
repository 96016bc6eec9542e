"""`data/masking.py` in torch: the same masks, bit for bit, computed on the device that holds the training tokens.

A batch is then sent to the GPU as the numbers of its sequences, a few kilobytes, and the host prepares nothing. torch
has no arithmetic for unsigned integers on a GPU, so 64 bits are held in an int64: sums, products and xors have the same
bits, a logical shift clears the copies of the sign, and the unsigned order is the signed order of words whose top bit
is flipped. Tokens are held in the signed type of their width.

Shape letters as in `data/masking.py`: B batch, L sequence length, N most masked positions per sequence.
"""

from math import ceil

import numpy as np
import torch
from torch import Tensor

from leanformer.data.corpus import TokenStore
from leanformer.data.masking import IGNORED, TO_MASK, TO_RANDOM
from leanformer.data.randomness import GOLDEN, random_bits
from leanformer.data.vocabulary import Vocabulary

SHARE = 0.25
"""The largest fraction of a device's memory that the tokens may take."""
SIGNED = {np.dtype(np.uint16): np.int16, np.dtype(np.uint32): np.int32}
LOWEST = -(2**63)


def fits(store: TokenStore, device: torch.device) -> bool:
    """Whether the device is a GPU with room for the tokens."""
    if device.type != "cuda":
        return False
    return store.tokens.nbytes <= SHARE * torch.cuda.get_device_properties(device).total_memory


class DeviceMasks:
    """The sequences of a store on a device, and their masks."""

    def __init__(self, store: TokenStore, length: int, vocabulary: Vocabulary, seed: int, device: torch.device) -> None:
        self.length, self.mask_id = length, vocabulary.mask_id
        self.start = _signed(int(random_bits(seed)))  # on the host: copying a scalar to the device would wait for it
        total = store.sequences(length)
        width = store.tokens.dtype.itemsize
        signed = np.array(store.tokens[: total * length]).view(SIGNED[store.tokens.dtype])
        self.tokens = torch.from_numpy(signed.reshape(total, length)).to(device)
        self.low = (1 << 8 * width) - 1
        self.documents = torch.from_numpy(np.array(store.documents)).to(device)
        self.is_special = torch.from_numpy(vocabulary.is_special).to(device)
        self.ordinary_ids = torch.from_numpy(vocabulary.ordinary_ids).to(device)
        self.ordinary = _ordinary(store, length, vocabulary)

    def num_targets(self, ids_B: Tensor, count_B: Tensor) -> int:
        """The number of targets if `count` positions of each sequence (on the host) are masked; not special tokens."""
        return int(np.minimum(self.ordinary[ids_B.numpy()], count_B.numpy()).sum())

    def batch(self, ids_B: Tensor, epoch_B: Tensor, count_B: Tensor, most: int) -> dict[str, Tensor]:
        """Returns the model's inputs: the corrupted sequences, the N = `most` predicted positions, and their labels.

        Sequence b is masked at `count`_b positions; the rest of the N have no label, so that shapes never change.
        """
        tokens_BL = self.tokens.index_select(0, ids_B).long() & self.low
        places_L = torch.arange(self.length, device=ids_B.device)
        bits_BL = hashed(self.start, epoch_B[:, None], ids_B[:, None], places_L)

        low = (1 << self.length.bit_length()) - 1
        ordinary_BL = ~self.is_special[tokens_BL]
        keys_BL = (_shifted(bits_BL, 1) & ~low | places_L) + torch.where(ordinary_BL, LOWEST, 0)
        smallest_BN = keys_BL.topk(most, dim=1, largest=False).values & low
        order_N = torch.arange(most, device=ids_B.device)
        unused = order_N >= count_B[:, None]
        positions_BN = smallest_BN.masked_fill(unused, self.length).sort(dim=1).values
        unused = positions_BN == self.length
        positions_BN = positions_BN.masked_fill(unused, 0)

        original_BN = tokens_BL.gather(1, positions_BN)
        left_BN = self.is_special[original_BN] | unused
        replacement_BN = self._corrupt(original_BN, bits_BL.gather(1, positions_BN))
        # Tokens that are not replaced are written to an extra column, which is cut off: no place is written twice.
        places_BN = positions_BN.masked_fill(left_BN, self.length)
        padded = torch.nn.functional.pad(tokens_BL, (0, 1))
        corrupted_BL = padded.scatter(1, places_BN, replacement_BN)[:, : self.length].contiguous()
        labels_BN = original_BN.masked_fill(left_BN, IGNORED)
        return {"input_ids": corrupted_BL, "masked_positions": positions_BN, "labels": labels_BN}

    def document_numbers(self, ids_B: Tensor) -> Tensor:
        """Returns (B, L), as `TokenStore.document_numbers`."""
        places_BL = ids_B[:, None] * self.length + torch.arange(self.length, device=ids_B.device)
        return torch.searchsorted(self.documents, places_BL, right=True)

    def _corrupt(self, original_BN: Tensor, bits_BN: Tensor) -> Tensor:
        draw_BN = hashed(0, bits_BN)
        high_BN, low_BN = _shifted(draw_BN, 32), draw_BN & 0xFFFFFFFF
        random_BN = self.ordinary_ids[low_BN * len(self.ordinary_ids) >> 32]
        # high / 2^32 < p, in integers.
        kept_BN = torch.where(high_BN < ceil((TO_MASK + TO_RANDOM) * 2**32), random_BN, original_BN)
        return torch.where(high_BN < ceil(TO_MASK * 2**32), self.mask_id, kept_BN)


def hashed(state: int, *words: Tensor) -> Tensor:
    """`random_bits` of `data/randomness.py` in int64; `state` is the hash of the one or more words before these."""
    bits: Tensor | int = state
    for word in words:
        bits = _mix((word ^ bits) + _signed(int(GOLDEN)))
    assert isinstance(bits, Tensor)
    return bits


def _mix(bits: Tensor) -> Tensor:
    bits = (bits ^ _shifted(bits, 30)) * _signed(0xBF58476D1CE4E5B9)
    bits = (bits ^ _shifted(bits, 27)) * _signed(0x94D049BB133111EB)
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Returns bits >> by, filled with zeros."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _signed(word: int) -> int:
    """Returns the signed number with the same 64 bits."""
    return word - (word >> 63 << 64)


def _ordinary(store: TokenStore, length: int, vocabulary: Vocabulary) -> np.ndarray:
    """The number of possible targets in each sequence; reads the file once, a part at a time."""
    total = store.sequences(length)
    pieces = [np.arange(start, min(start + 4096, total)) for start in range(0, total, 4096)]
    counts = [(~vocabulary.is_special[store.batch(ids, length)]).sum(axis=1) for ids in pieces]
    return np.concatenate(counts)
