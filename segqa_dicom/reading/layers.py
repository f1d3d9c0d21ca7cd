"""Painting segments into label volumes; segments that overlap come to lie in different ones, each whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.errors import LimitExceeded
from segqa_dicom.reading.limits import Limits

MAX_LAYERS_BYTES = 4_000_000_000
"""Memory that the label volumes of one SEG may take; more is not a segmentation but an attack or a mistake."""


def refuse_noise(layer: NDArray[Any], limits: Limits) -> None:
    """Raise `LimitExceeded` for a label volume (slice, row, column) that falls into more runs than any segmentation."""
    runs = 0
    for plane in layer:
        runs += int(np.count_nonzero(plane[:, 1:] != plane[:, :-1]))
        if runs > limits.max_runs:
            raise LimitExceeded(f"its labels change more than {limits.max_runs} times: noise, not a segmentation")


class LayerPainter:
    """Label volumes of `shape` (slice, row, column) for `segment_count` segments."""

    def __init__(self, shape: tuple[int, int, int], segment_count: int) -> None:
        self.shape = shape
        self.dtype = np.uint8 if segment_count < 256 else np.uint16
        self.layers: list[NDArray[Any]] = [np.zeros(shape, self.dtype)]
        self.layer_of = [0] * segment_count

    def paint(self, segment: int, planes: Iterable[tuple[int, NDArray[np.bool_]]]) -> None:
        """Paint one segment (index) given as (slice index, mask (row, column)); several masks on a slice are united.

        It goes into the first layer in which none of its voxels is taken.
        """
        kept = [(index, mask) for index, mask in planes if mask.any()]
        value = segment + 1
        number = next((n for n in range(len(self.layers)) if self._is_free(n, kept)), None)
        if number is None:
            number = self._new_layer()
        layer = self.layers[number]
        for index, mask in kept:
            layer[index][mask] = value
        self.layer_of[segment] = number

    def _is_free(self, number: int, planes: list[tuple[int, NDArray[np.bool_]]]) -> bool:
        layer = self.layers[number]
        return all(not layer[index][mask].any() for index, mask in planes)

    def _new_layer(self) -> int:
        size = int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize
        if size * (len(self.layers) + 1) > MAX_LAYERS_BYTES:
            raise LimitExceeded(f"its segments overlap in more than {len(self.layers)} layers of {size} bytes")
        self.layers.append(np.zeros(self.shape, self.dtype))
        return len(self.layers) - 1
