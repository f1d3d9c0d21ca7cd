"""Cases from the archive: a CT series with all its segmentations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from segqa_dicom.archive import Archive, Instance
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import open_object
from segqa_dicom.dicom.sop_classes import SEG_CLASSES
from segqa_dicom.errors import InputError
from segqa_dicom.model import Case
from segqa_dicom.pictures.errors import NothingToShow
from segqa_dicom.progress import Progress
from segqa_dicom.reading.case import read_case
from segqa_dicom.reading.grouping import CaseFiles, group
from segqa_dicom.reading.scan import Header, Kind, scan

_HU_BYTES, _LABEL_BYTES = 2, 1
"""Bytes per voxel of the CT, and of a segmentation with fewer than 256 segments and no overlap."""


@dataclass(frozen=True, eq=False)
class Fetched:
    """A case, and reasons for segmentations that are not in it, by SOP Instance UID."""

    case: Case
    excluded: dict[str, str]


class Fetcher:
    """Reads cases of an archive."""

    def __init__(self, archive: Archive, limits: Limits) -> None:
        self._archive, self._limits = archive, limits

    def is_there(self, segmentation: str) -> bool:
        """Whether a segmentation is archived."""
        return bool(self._archive.find_instances([segmentation]))

    def fetch(
        self,
        study: str,
        ct_series: str,
        folder: Path,
        *,
        also: Collection[str],
        expect: Callable[[int], None],
        progress: Progress,
    ) -> Fetched:
        """The CT series with the segmentations of its study that refer to it, and with those of `also`.

        folder : for temporary files
        also : SOP Instance UIDs of segmentations that may be in other studies
        expect : called with the approximate bytes of the arrays, before they are made
        Raises `NothingToShow`, an `InputError` of reading, or a `PeerError` of the archive.
        """
        progress("asking the archive", 0, 1)
        images = self._archive.list_instances(study, ct_series)
        if not images:
            raise NothingToShow(f"CT series {ct_series} is no longer in the archive")
        segmentations = self._segmentations(study, also)
        progress("fetching images", 0, len(images))
        paths = self._archive.fetch(images, folder)
        progress("fetching segmentations", 0, len(segmentations))
        paths = paths | self._archive.fetch(segmentations, folder)
        files, excluded = self._files(study, ct_series, paths, also, progress)
        excluded |= {uid: f"segmentation {uid} is no longer in the archive" for uid in set(also) - set(paths)}
        expect(self._expected_bytes(files))
        case, unread = read_case(files, self._limits, progress)
        excluded |= {one.sop_instance_uid: one.reason for one in unread if one.is_segmentation and one.sop_instance_uid}
        if case is None:
            raise NothingToShow(f"nothing of CT series {ct_series} can be shown: {'; '.join(excluded.values())}")
        return Fetched(case, excluded)

    def _segmentations(self, study: str, also: Collection[str]) -> list[Instance]:
        found = {
            one.sop_instance_uid: one
            for series in self._archive.list_series(study_instance_uid=study, modality="SEG")
            for one in self._archive.list_instances(study, series.series_instance_uid)
        }
        missing = [uid for uid in also if uid not in found]
        found |= {one.sop_instance_uid: one for one in self._archive.find_instances(missing)} if missing else {}
        return [one for one in found.values() if one.sop_class_uid in SEG_CLASSES]

    def _files(
        self, study: str, ct_series: str, paths: dict[str, Path], also: Collection[str], progress: Progress
    ) -> tuple[CaseFiles, dict[str, str]]:
        headers, unusable = scan(sorted(set(paths.values())), self._limits, progress)
        uids = {path: uid for uid, path in paths.items()}
        excluded = {uids[one.path]: one.reason for one in unusable if one.path in uids}
        images = [one for one in headers if one.kind is Kind.CT]
        instances = {one.sop_instance_uid for one in images}
        drawn, elsewhere = list[Header](), list[Header]()
        for one in (one for one in headers if one.kind is Kind.SEG):
            ours = one.sop_instance_uid in also or self._is_drawn_on(one, study, ct_series, instances)
            (drawn if ours else elsewhere).append(one)
        excluded |= {one.sop_instance_uid: "it refers to another CT series" for one in elsewhere}
        cases, ungrouped = group([*images, *drawn], self._limits)
        excluded |= {one.sop_instance_uid: one.reason for one in ungrouped if one.sop_instance_uid}
        for case in cases:
            if case.name == ct_series:
                return case, excluded
        raise NothingToShow(f"the archive has no segmentation on CT series {ct_series} that can be read")

    def _is_drawn_on(self, header: Header, study: str, ct_series: str, instances: Collection[str]) -> bool:
        """Whether a segmentation refers to this CT series, or to nothing in the archive and it is the only one."""
        if ct_series in header.referenced_series or not header.referenced_instances.isdisjoint(instances):
            return True
        if any(self._archive.list_series(series_instance_uid=uid) for uid in header.referenced_series):
            return False
        if header.referenced_instances and self._archive.find_instances(sorted(header.referenced_instances)[:1]):
            return False
        return len(self._archive.list_series(study_instance_uid=study, modality="CT")) == 1

    def _expected_bytes(self, files: CaseFiles) -> int:
        """Approximate bytes of the arrays of a case, from its first image."""
        keywords = ("SOPClassUID", "Rows", "Columns", "NumberOfFrames")
        try:
            first = open_object(files.ct_paths[0], self._limits, keywords=keywords).dataset
            pixels = int(first.Rows) * int(first.Columns) * int(first.get("NumberOfFrames") or 1)
        except (InputError, AttributeError, TypeError, ValueError):
            return 0  # reading will say what is wrong with it
        return len(files.ct) * pixels * (_HU_BYTES + len(files.segmentations) * _LABEL_BYTES)


def array_bytes(case: Case) -> int:
    """Bytes of all arrays of a case."""
    layers: Sequence[int] = [layer.nbytes for one in case.segmentations for layer in one.layers]
    return case.ct.hu.nbytes + sum(layers)
