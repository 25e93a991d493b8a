"""Longest common subsequences of one sequence with many at once, a bit a token.

The bit-parallel recurrence of Crochemore, Iliopoulos, Pinzon and Reid (2001): with V all ones and M the bits at
which a reference holds the next token, `U = V & M; V = (V + U) | (V - U)`; zeros of V count the subsequence.
A reference of at most 64 tokens is one unsigned 64-bit number, so numpy advances thousands of them at once;
longer ones are Python integers, which have no limit.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import UInt8, UInt64
from numpy.typing import NDArray

WORD = 64


class PackedReferences:
    """References of at most 64 tokens each, ready to be compared with any sequence of tokens."""

    def __init__(self, references: Sequence[Sequence[int]]) -> None:
        tokens = sorted({token for reference in references for token in reference})
        row = {token: place for place, token in enumerate(tokens)}
        table = np.zeros((len(tokens), len(references)), dtype=np.uint64)
        for column, reference in enumerate(references):
            for place, token in enumerate(reference):
                table[row[token], column] |= np.uint64(1 << place)
        self._masks: dict[int, UInt64[NDArray[np.uint64], " reference"]] = dict(zip(tokens, table, strict=True))
        self._start = np.full(len(references), ~np.uint64(0))

    def lengths(self, sequences: Sequence[Sequence[int]]) -> Iterator[UInt8[NDArray[np.uint8], " reference"]]:
        """For each sequence in turn, the length of its longest common subsequence with each reference.

        What two consecutive sequences share at their beginning is computed once: sort them to gain most.
        """
        states, added = [self._start], np.empty_like(self._start)
        previous: Sequence[int] = ()
        for sequence in sequences:
            shared = _shared_prefix(previous, sequence)
            del states[shared + 1 :]
            for token in sequence[shared:]:
                states.append(self._advance(states[-1], token, added))
            previous = sequence
            yield np.uint8(WORD) - np.bitwise_count(states[-1])

    def _advance(
        self,
        state: UInt64[NDArray[np.uint64], " reference"],
        token: int,
        added: UInt64[NDArray[np.uint64], " reference"],
    ) -> UInt64[NDArray[np.uint64], " reference"]:
        mask = self._masks.get(token)
        if mask is None:
            return state
        np.bitwise_and(state, mask, out=added)
        following = state + added
        np.subtract(state, added, out=added)
        following |= added
        return following


def _shared_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    for place, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return place
    return min(len(left), len(right))


def common_subsequence(left: Sequence[int], right: Sequence[int]) -> int:
    """The length of the longest common subsequence of two sequences of any length.

    >>> common_subsequence([1, 2, 3, 4], [2, 4, 3])
    2
    """
    masks: dict[int, int] = {}
    for place, token in enumerate(right):
        masks[token] = masks.get(token, 0) | 1 << place
    full = state = (1 << len(right)) - 1
    for token in left:
        added = state & masks.get(token, 0)
        state = ((state + added) | (state - added)) & full
    return len(right) - state.bit_count()
