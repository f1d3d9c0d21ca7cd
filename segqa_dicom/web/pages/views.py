"""What the archive's documents say about a segment, as the review page shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segqa_dicom.archive import Archive
from segqa_dicom.findings import FindingsIndex
from segqa_dicom.model import CtVolume, SegmentRef
from segqa_dicom.reviews.workflow.machine import machine_view
from segqa_dicom.reviews.workflow.model import Annotation, MachineView


@dataclass(frozen=True, slots=True)
class Views:
    """Asks documents of the archive; blocks.

    folder : for files of the archive while they are read
    annotations : what was drawn on a segment in other programs
    """

    index: FindingsIndex
    archive: Archive
    folder: Path
    annotations: Callable[[SegmentRef], Sequence[Annotation]]

    def machine_view(self, place: SegmentRef, ct: CtVolume | None = None) -> MachineView | None:
        """All that the machine's documents say; None if there are none. Where things are it says with the CT only."""
        return machine_view(self.index, self.archive, place, self.folder, ct=ct)
