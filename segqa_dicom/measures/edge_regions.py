"""Regions of a slice that are connected to the edge of the matrix, as bits, and the voxels of segments in them.

The air around a patient and the padding around a reconstructed circle are both such regions. 64 voxels of a row are
one word, so that a region spreads over them at once; a volume takes a sixteenth of its CT.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.jit import kernel
from segqa_dicom.measures.runs import Runs

_ONE, _TOP = np.uint64(1), np.uint64(63)
_NONE, _ALL = np.uint64(0), ~np.uint64(0)


@dataclass(frozen=True, eq=False)
class EdgeRegions:
    """What of some voxels of a volume is connected to the edge of its slice.

    shape : (slices, rows, columns) of the volume
    candidates : (slices * rows, words) uint64, the voxels that may be connected; bit b of word w is column 64 * w + b
    diagonal, shrink : see `find_edge_regions`
    """

    shape: tuple[int, int, int]
    candidates: NDArray[np.uint64]
    diagonal: bool
    shrink: bool

    @cached_property
    def bits(self) -> NDArray[np.uint64]:
        """Like `candidates`, those that are connected."""
        slices, rows, columns = self.shape
        bits = self.candidates.reshape(slices, rows, -1).copy()
        _keep_what_reaches_edge(bits, columns, self.diagonal)
        if self.shrink:
            _shrink(bits, columns)
        return bits.reshape(self.candidates.shape)


def find_edge_regions(
    volume: NDArray[Any],
    test: Callable[[NDArray[Any]], NDArray[np.bool_]],
    *,
    diagonal: bool,
    shrink: bool,
) -> EdgeRegions | None:
    """What passes `test` and is connected to the edge of its slice through voxels that pass it; None if nothing is.

    diagonal : whether voxels that only share a corner are connected (8 neighbours, not 4)
    shrink : leave out voxels that have, among their 8 neighbours, one that is not in the region; what is beyond the
        edge counts as in it
    """
    slices = [k for k, edges in enumerate(zip(*_edges(volume), strict=True)) if any(test(edge).any() for edge in edges)]
    if not slices:
        return None
    _, rows, columns = volume.shape
    bits = np.zeros((len(volume), rows, (columns + 63) // 64), np.uint64)
    packed = bits.view(np.uint8)[:, :, : (columns + 7) // 8]
    for k in slices:
        # Packed slice by slice, a mask never leaves the cache.
        packed[k] = np.packbits(test(volume[k]), axis=1, bitorder="little")
    return EdgeRegions(volume.shape, bits.reshape(-1, bits.shape[2]), diagonal, shrink)


def _edges(volume: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """First and last row and column of every slice; rows first, they lie together in memory."""
    return volume[:, 0], volume[:, -1], volume[:, :, 0], volume[:, :, -1]


def count_in_regions(regions: EdgeRegions, runs: Runs, size: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Voxels of every label in the regions, and where: ((size,) int64, (size, 3) int32).

    The place (slice, row, column) is the middle one of those in the first slice that has any; -1 without voxels.
    size : more than any label of `runs`
    """
    if regions.shape != runs.shape:
        raise ValueError(f"a layer of shape {runs.shape} does not fit regions of shape {regions.shape}")
    counts, places = np.zeros(size, np.int64), np.full((size, 3), -1, np.int32)
    # Mostly no segment comes near padding: then nobody needs to know what of it is connected.
    if _is_any_under(regions.candidates, runs.row_starts, runs.first, runs.stop):
        _count_runs(regions.bits, runs.row_starts, runs.first, runs.stop, runs.labels, runs.shape[1], counts, places)
    return counts, places


@kernel
def _keep_what_reaches_edge(bits: NDArray[np.uint64], columns: int, is_diagonal: Any) -> None:
    """Clear the bits (slice, row, word) of every region that does not reach the edge of its slice.

    Rows are filled from their neighbours, down and up in turn, until none changes; only rows beside a change are
    looked at again.
    """
    slices, rows, words = bits.shape
    # A row of zeros above the first one and below the last one.
    reached = np.empty((rows + 2, words), np.uint64)
    seeds = np.empty(words, np.uint64)
    is_due = np.empty(rows + 2, np.bool_)
    last_column = _ONE << np.uint64((columns - 1) % 64)
    for k in range(slices):
        reached[:] = 0
        is_due[:] = True
        down, changes = True, 1
        while changes > 0:
            changes = 0
            for step in range(1, rows + 1):
                row = step if down else rows + 1 - step
                if not is_due[row]:
                    continue
                is_due[row] = False
                _spread(reached, row, is_diagonal, seeds)
                seeds[0] |= _ONE
                seeds[words - 1] |= last_column
                if row in (1, rows):
                    seeds[:] = _ALL
                if _fill_row(bits, k, row, seeds, reached):
                    is_due[row - 1] = is_due[row + 1] = True
                    changes += 1
            down = not down
        # Assigned one by one: numba compiles an assignment of arrays for seconds (the words of its error).
        for row in range(rows):
            for word in range(words):
                bits[k, row, word] = reached[row + 1, word]


@kernel
def _spread(reached: NDArray[np.uint64], row: int, is_diagonal: Any, seeds: NDArray[np.uint64]) -> None:
    """Which bits of a row have a neighbour in the row above or below."""
    for word in range(seeds.size):
        seeds[word] = reached[row - 1, word] | reached[row + 1, word]
    if is_diagonal:
        before = _NONE
        for word in range(seeds.size):
            here = seeds[word]
            after = seeds[word + 1] if word + 1 < seeds.size else _NONE
            seeds[word] = here | (here << _ONE) | (here >> _ONE) | (before >> _TOP) | (after << _TOP)
            before = here


@kernel
def _fill_row(
    bits: NDArray[np.uint64], k: int, row: int, seeds: NDArray[np.uint64], reached: NDArray[np.uint64]
) -> bool:
    """Add to a row the stretches of ones of slice `k` that have a seed; whether there were any new bits."""
    new = _NONE
    for word in range(seeds.size):
        new |= bits[k, row - 1, word] & seeds[word] & ~reached[row, word]
    if new == 0:
        return False
    carry = _NONE
    for word in range(seeds.size):
        seed = bits[k, row - 1, word] & (seeds[word] | carry)
        if seed & ~reached[row, word] != 0:
            reached[row, word] |= _fill_word(bits[k, row - 1, word], seed)
        carry = reached[row, word] >> _TOP
    carry = _NONE
    for word in range(seeds.size - 1, -1, -1):
        seed = bits[k, row - 1, word] & (carry << _TOP)
        if seed & ~reached[row, word] != 0:
            reached[row, word] |= _fill_word(bits[k, row - 1, word], seed)
        carry = reached[row, word] & _ONE
    return True


@kernel
def _fill_word(mask: np.uint64, seed: np.uint64) -> np.uint64:
    """The stretches of ones of `mask` that have a bit of `seed`, which lies in it."""
    if mask == _ALL:
        return mask
    filled, through, shift = seed, mask, _ONE
    if mask & (filled >> _ONE) & ~filled != 0:
        for _ in range(6):
            filled |= through & (filled >> shift)
            through &= through >> shift
            shift <<= _ONE
    # Now the lowest bit of every stretch is there; adding it carries through to the end of the stretch.
    return filled | (mask & ~(mask + filled))


@kernel
def _shrink(bits: NDArray[np.uint64], columns: int) -> None:
    """Clear every bit (slice, row, word) that has a neighbour in its slice, of 8, that is not set."""
    slices, rows, words = bits.shape
    outside = _NONE if columns % 64 == 0 else _ALL << np.uint64(columns % 64)
    narrow = np.empty((rows, words), np.uint64)
    for k in range(slices):
        for row in range(rows):
            for word in range(words):
                here = bits[k, row, word] | (outside if word == words - 1 else _NONE)
                left = bits[k, row, word - 1] >> _TOP if word > 0 else _ONE
                right = bits[k, row, word + 1] << _TOP if word < words - 1 else _ONE << _TOP
                narrow[row, word] = here & ((here << _ONE) | left) & ((here >> _ONE) | right)
        for row in range(rows):
            for word in range(words):
                above = narrow[max(row - 1, 0), word]
                below = narrow[min(row + 1, rows - 1), word]
                bits[k, row, word] &= narrow[row, word] & above & below


@kernel
def _is_any_under(
    bits: NDArray[np.uint64], row_starts: NDArray[np.int64], first: NDArray[Any], stop: NDArray[Any]
) -> bool:
    """Whether any run lies on a bit."""
    for row in range(row_starts.size - 1):
        for run in range(row_starts[row], row_starts[row + 1]):
            for word in range(first[run] // 64, (stop[run] + 63) // 64):
                if _word_between(bits[row, word], word, np.int64(first[run]), np.int64(stop[run])) != 0:
                    return True
    return False


@kernel
def _count_runs(
    bits: NDArray[np.uint64], row_starts: NDArray[np.int64], first: NDArray[Any], stop: NDArray[Any],
    labels: NDArray[Any], rows: int, counts: NDArray[np.int64], places: NDArray[np.int32],
) -> None:  # fmt: skip
    """Count the bits under the runs of every label; a second look at the slice in which a label turns up first."""
    ranks = np.full(counts.size, -1, np.int64)
    found = np.empty(counts.size, np.int64)
    for start in range(0, row_starts.size - 1, rows):
        found_count = 0
        for row in range(start, start + rows):
            for run in range(row_starts[row], row_starts[row + 1]):
                count = _count_bits(bits, row, np.int64(first[run]), np.int64(stop[run]))
                label = labels[run]
                if count > 0 and counts[label] == 0:
                    found[found_count] = label
                    found_count += 1
                counts[label] += count
        for place in range(found_count):
            ranks[found[place]] = counts[found[place]] // 2
        for row in range(start, start + rows if found_count > 0 else start):
            for run in range(row_starts[row], row_starts[row + 1]):
                label = labels[run]
                if ranks[label] >= 0:
                    column = _nth_bit(bits, row, np.int64(first[run]), np.int64(stop[run]), ranks[label])
                    if column >= 0:
                        places[label, 0], places[label, 1], places[label, 2] = start // rows, row - start, column
                        ranks[label] = -1
                    else:
                        ranks[label] -= _count_bits(bits, row, np.int64(first[run]), np.int64(stop[run]))


@kernel
def _word_between(value: np.uint64, word: int, first: Any, stop: Any) -> np.uint64:
    """The bits of word number `word` of a row that lie in columns first <= column < stop; some of its columns do."""
    low = np.uint64(max(first - 64 * word, 0))
    high = np.uint64(max(64 * word + 64 - stop, 0))
    return (value >> low << low) & (_ALL >> high)


@kernel
def _count_bits(bits: NDArray[np.uint64], row: int, first: Any, stop: Any) -> int:
    """How many bits of a row are set in columns first <= column < stop."""
    count = 0
    for word in range(first // 64, (stop + 63) // 64):
        value = _word_between(bits[row, word], word, first, stop)
        while value != 0:
            # Few voxels of segments lie in such a region, and those in whole words.
            if value == _ALL:
                count += 64
                break
            value &= value - _ONE
            count += 1
    return count


@kernel
def _nth_bit(bits: NDArray[np.uint64], row: int, first: Any, stop: Any, rank: Any) -> int:
    """Column of the set bit number `rank` (from 0) in columns first <= column < stop; -1 if there are fewer."""
    for column in range(first, stop):
        if (bits[row, column // 64] >> np.uint64(column % 64)) & _ONE != 0:
            if rank == 0:
                return column
            rank -= 1
    return -1
