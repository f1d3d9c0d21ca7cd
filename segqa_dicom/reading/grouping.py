"""Matching of segmentations to the CT series that they refer to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import file_digest
from segqa_dicom.errors import InputError
from segqa_dicom.model import Geometry
from segqa_dicom.reading.scan import Header, Kind, NotReviewed


@dataclass(frozen=True, slots=True)
class SegFile:
    """A SEG object of a case; `references_ct_series` is False if it was matched by frame of reference."""

    header: Header
    references_ct_series: bool


@dataclass(frozen=True, slots=True)
class CaseFiles:
    """The files of one CT series and of its segmentations."""

    ct: tuple[Header, ...]
    segmentations: tuple[SegFile, ...]

    @property
    def ct_paths(self) -> tuple[Path, ...]:
        """The files of the CT series."""
        return tuple(header.path for header in self.ct)

    @property
    def name(self) -> str:
        """Series Instance UID of the CT."""
        return self.ct[0].series_instance_uid


_SeriesKey = tuple[str, str, str]


def group(headers: Iterable[Header], limits: Limits) -> tuple[list[CaseFiles], list[NotReviewed]]:
    """Cases in the order of Study and Series Instance UID, and objects of no case with reasons.

    A segmentation belongs to the CT series that it refers to, by series or by instances; if that is missing, to the
    only CT series of its frame of reference whose slices cover it.
    """
    headers = list(headers)
    series: dict[_SeriesKey, list[Header]] = {}
    for header in headers:
        if header.kind is Kind.CT:
            key = (header.study_instance_uid, header.series_instance_uid, header.patient_id)
            series.setdefault(key, []).append(header)
    segmentations, not_reviewed = _distinct([header for header in headers if header.kind is Kind.SEG])
    drawn_on: dict[_SeriesKey, list[SegFile]] = {}
    matcher = _Matcher(series, limits)
    for header in segmentations:
        found = matcher.match(header)
        if isinstance(found, str):
            not_reviewed.append(NotReviewed(header.path, header.sop_instance_uid, found, is_segmentation=True))
        else:
            drawn_on.setdefault(found[0], []).append(SegFile(header, found[1]))
    cases = [CaseFiles(tuple(series[key]), tuple(drawn_on[key])) for key in sorted(drawn_on)]
    not_reviewed.extend(
        NotReviewed(
            series[key][0].path,
            series[key][0].sop_instance_uid,
            f"CT series {key[1]} ({len(series[key])} files): no segmentation that can be reviewed was drawn on it",
        )
        for key in sorted(series)
        if key not in drawn_on
    )
    return cases, not_reviewed


def _distinct(headers: Sequence[Header]) -> tuple[list[Header], list[NotReviewed]]:
    """One header per SOP Instance UID; a further file with the UID is reported if its content differs."""
    kept: dict[str, Header] = {}
    not_reviewed: list[NotReviewed] = []
    for header in headers:
        first = kept.setdefault(header.sop_instance_uid, header)
        if first is not header and file_digest(first.path) != file_digest(header.path):
            reason = f"it has the SOP Instance UID of {first.path.name} but other content; only that one was reviewed"
            not_reviewed.append(NotReviewed(header.path, header.sop_instance_uid, reason, is_segmentation=True))
    return list(kept.values()), not_reviewed


class _Matcher:
    def __init__(self, series: dict[_SeriesKey, list[Header]], limits: Limits) -> None:
        self.series = series
        self.limits = limits
        self.series_of_instance = {header.sop_instance_uid: key for key in series for header in series[key]}
        self._geometry: dict[_SeriesKey, Geometry | str] = {}

    def match(self, header: Header) -> tuple[_SeriesKey, bool] | str:
        """The CT series of a segmentation and whether it refers to it; or why there is none."""
        key = self._by_reference(header)
        if key is not None:
            ct_patient = key[2]
            if header.patient_id and ct_patient and header.patient_id != ct_patient:
                return "it belongs to another patient than the CT it refers to (Patient ID differs)"
            return key, True
        return self._by_frame_of_reference(header)

    def _by_reference(self, header: Header) -> _SeriesKey | None:
        counts = {key: 0 for key in self.series if key[1] in header.referenced_series}
        for uid in header.referenced_instances:
            if (key := self.series_of_instance.get(uid)) is not None:
                counts[key] = counts.get(key, 0) + 1
        if not counts:
            return None
        same_patient = {key: count for key, count in counts.items() if key[2] == header.patient_id}
        candidates = same_patient or counts
        return max(sorted(candidates), key=lambda key: candidates[key])

    def _by_frame_of_reference(self, header: Header) -> tuple[_SeriesKey, bool] | str:
        # Imported here, because few objects need it.
        from segqa_dicom.reading.seg import frames_within

        wanted = header.frame_of_reference_uid
        named = bool(header.referenced_series or header.referenced_instances)
        missing = "the CT series it refers to is not among the files" if named else "it refers to no CT series"
        candidates = [
            key
            for key, members in sorted(self.series.items())
            if wanted and wanted in {one.frame_of_reference_uid for one in members} and key[2] == header.patient_id
        ]
        if not candidates:
            return f"{missing}, and no CT series of the patient has its frame of reference; add the CT it was drawn on"
        covering: list[_SeriesKey] = []
        for key in candidates:
            try:
                geometry = self._geometry_of(key)
                if not isinstance(geometry, str) and frames_within(header.path, geometry, self.limits):
                    covering.append(key)
            except InputError as error:
                return str(error)
        if len(covering) == 1:
            return covering[0], False
        if covering:
            many = f"{len(covering)} CT series of its frame of reference could be meant"
            return f"{missing}, and {many}; give only the one it was drawn on"
        return f"{missing}, and no CT series of its frame of reference covers all of its frames"

    def _geometry_of(self, key: _SeriesKey) -> Geometry | str:
        from segqa_dicom.reading.ct import read_ct_geometry

        if key not in self._geometry:
            try:
                paths = [header.path for header in self.series[key]]
                self._geometry[key] = read_ct_geometry(paths, self.limits)
            except InputError as error:
                self._geometry[key] = str(error)
        return self._geometry[key]
