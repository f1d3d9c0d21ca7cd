"""Files of a case to `Case`, without objects that cannot be read."""

from __future__ import annotations

from segqa_dicom.dicom.limits import Limits
from segqa_dicom.errors import InputError
from segqa_dicom.model import Case, Segmentation
from segqa_dicom.progress import Progress, silent
from segqa_dicom.reading.ct import read_ct
from segqa_dicom.reading.grouping import CaseFiles
from segqa_dicom.reading.scan import Header, NotReviewed
from segqa_dicom.reading.seg import read_seg


def read_case(files: CaseFiles, limits: Limits, progress: Progress = silent) -> tuple[Case | None, list[NotReviewed]]:
    """The case, None if it has no readable segmentation, and the excluded objects with reasons."""
    referenced = {uid for part in files.segmentations for uid in part.header.referenced_instances}
    progress("reading CT", 0, len(files.ct_paths))
    try:
        ct = read_ct(files.ct_paths, limits, preferred=referenced, progress=progress)
    except InputError as error:
        reason = f"the CT it was drawn on cannot be used: {error}"
        return None, [_excluded(part.header, reason) for part in files.segmentations]
    names = {header.sop_instance_uid: header.path for header in files.ct}
    not_reviewed = [
        NotReviewed(names.get(uid, files.ct[0].path), uid, f"image of the CT series left out: {reason}")
        for uid, reason in ct.facts.unreadable
    ]
    found: list[Segmentation] = []
    for part in files.segmentations:
        header = part.header
        progress("reading SEG", 0, 1)
        try:
            segmentation = read_seg(
                header.path, ct, limits, references_ct_series=part.references_ct_series, progress=progress
            )
        except InputError as error:
            not_reviewed.append(_excluded(header, str(error)))
        else:
            found.append(segmentation)
    if not found:
        return None, not_reviewed
    found.sort(key=lambda one: (one.record.series_number or 0, one.record.sop_instance_uid))
    return Case(ct, tuple(found)), not_reviewed


def _excluded(header: Header, reason: str) -> NotReviewed:
    return NotReviewed(header.path, header.sop_instance_uid, reason, is_segmentation=True)
