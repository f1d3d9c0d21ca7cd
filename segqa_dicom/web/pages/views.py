"""What the archive's documents say about a segment, as the review page shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segqa_dicom.findings import FindingsIndex
from segqa_dicom.model import SegmentRef
from segqa_dicom.reviews.workflow.machine import machine_view
from segqa_dicom.reviews.workflow.model import Annotation, MachineView


@dataclass(frozen=True, slots=True)
class Views:
    """Asks documents of the archive; blocks.

    annotations : what was drawn on a segment in other programs
    """

    index: FindingsIndex
    annotations: Callable[[SegmentRef], Sequence[Annotation]]

    def machine_view(self, place: SegmentRef) -> MachineView | None:
        """What the machine's documents state about a segment; None if there are none."""
        return machine_view(self.index, place)
