"""What readers want changed, for the next batch of training or annotation: as CSV, and as references to DICOM objects.

Neither names the patient or a reader; comments are what readers have typed, and can be left out. There is no Key Object
Selection: viewers show what it lists as images, not as segments, and the titles that would fit (113001 "Rejected for
Quality Reasons" of PS3.16, CID 7010) make archives hide it (IHE Radiology, Imaging Object Change Management).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from segqa_dicom.archive import Archive, Instance
from segqa_dicom.assessment.model import Purpose, SegmentReview
from segqa_dicom.assessment.vocabulary import Vocabulary
from segqa_dicom.findings import FindingsIndex
from segqa_dicom.findings.export import spreadsheet_cell
from segqa_dicom.findings.worklist import machine_segment, machine_segments
from segqa_dicom.model import WHOLE, PointMm, SegmentRef
from segqa_dicom.reviews.workflow.model import MachineSegment, SignedReview, WorklistFilters


class Decision(StrEnum):
    """Who has said that something is to be changed."""

    ADJUDICATION = "adjudication"
    """Whoever decided between readers."""
    SINGLE = "single"
    """The only reader."""
    MAJORITY = "majority"
    """More than half of several readers."""
    SPLIT = "split"
    """Half of several readers: it is listed, for somebody should look again."""
    MINORITY = "minority"
    """Fewer; listed only if any reader is enough."""


@dataclass(frozen=True, slots=True)
class MajorOptions:
    """What counts as in need of major edits: any of these, by a reader who stands for it.

    worst_rating : ratings up to this one
    severities : of findings that are errors by the vocabulary
    actions : that are proposed
    is_any_enough : one reader of several is enough; an adjudication still decides
    """

    worst_rating: int = 2
    severities: tuple[str, ...] = ("major", "critical")
    actions: tuple[str, ...] = ("edit", "rerun", "relabel", "reject")
    is_any_enough: bool = False


@dataclass(frozen=True, slots=True)
class MajorEdit:
    """A segment that is to be changed, with what those said who want it changed.

    ratings : of all who count, in the order of signing
    n_for : of `n_readers`, those who want it changed
    findings : (type, severity, comment, point in LPS mm) as said; words are ids of the vocabulary
    actions, comments : without repetitions
    documents : (Series, SOP Instance UID) of the `review` SRs that say so
    """

    machine: MachineSegment
    decision: Decision
    n_readers: int
    n_for: int
    ratings: tuple[str, ...]
    findings: tuple[tuple[str, str, str, PointMm | None], ...]
    actions: tuple[str, ...]
    comments: tuple[str, ...]
    documents: tuple[tuple[str, str], ...]


def major_edits(
    reviews: Iterable[SignedReview], index: FindingsIndex, vocabulary: Vocabulary, options: MajorOptions | None = None
) -> list[MajorEdit]:
    """The segments that readers want changed, those first that look worst: by rating, then as in the worklist.

    reviews : all current ones

    A signed adjudication decides alone. Else the first reading of each reader counts, signed; more than half of the
    readers, or just half of them, must want it. Repeats and preliminary reviews do not count.
    """
    chosen = options or MajorOptions()
    found = []
    for place, said in _by_place(reviews).items():
        wanting = [one for one in said if _is_major(one.content, vocabulary, chosen)]
        decision = _decision(said, len(wanting))
        if wanting and (decision is not Decision.MINORITY or chosen.is_any_enough):
            found.append((place, decision, said, wanting))
    machine = _machine(index, [place for place, *_ in found])
    edits = [
        _edit(machine.get(place) or _unknown(place, said), decision, said, wanting)
        for place, decision, said, wanting in found
    ]
    return sorted(edits, key=_badness)


# ------------------------------------------------------------------------------------------------------ who says so


@dataclass(frozen=True, slots=True)
class _Said:
    review: SignedReview
    content: SegmentReview

    @property
    def is_decision(self) -> bool:
        return self.review.review.purpose is Purpose.ADJUDICATION


def _by_place(reviews: Iterable[SignedReview]) -> dict[SegmentRef, list[_Said]]:
    """What counts about each segment, the oldest first: an adjudication alone, else one reading of each reader."""
    found: dict[SegmentRef, dict[str, _Said]] = {}
    decided: dict[SegmentRef, _Said] = {}
    for review in sorted(reviews, key=lambda one: (one.review.made_at, one.document)):
        content = review.review
        if (
            not content.is_signed
            or content.purpose is Purpose.REPEAT
            or (content.purpose is Purpose.READING and content.reading != 1)
        ):
            continue
        for one in content.segments:
            place, said = SegmentRef(content.segmentation, one.segment_number), _Said(review, one)
            if said.is_decision:
                decided[place] = said
            elif not one.is_empty:
                found.setdefault(place, {})[content.reviewer.login] = said
    by_place = {place: list(by_reader.values()) for place, by_reader in found.items()}
    return by_place | {place: [said] for place, said in decided.items()}


def _is_major(said: SegmentReview, vocabulary: Vocabulary, options: MajorOptions) -> bool:
    if said.rating.isdecimal() and int(said.rating) <= options.worst_rating:
        return True
    if said.action in options.actions:
        return True
    known = vocabulary.findings
    return any(
        one.severity in options.severities and (one.type not in known or known[one.type].is_error)
        for one in said.findings
    )


def _decision(said: Sequence[_Said], n_for: int) -> Decision:
    if any(one.is_decision for one in said):
        return Decision.ADJUDICATION
    if len(said) == 1:
        return Decision.SINGLE
    if 2 * n_for > len(said):
        return Decision.MAJORITY
    return Decision.SPLIT if 2 * n_for == len(said) else Decision.MINORITY


def _edit(machine: MachineSegment, decision: Decision, said: Sequence[_Said], wanting: Sequence[_Said]) -> MajorEdit:
    findings = tuple(
        (finding.type, finding.severity, finding.comment, finding.location.point_mm if finding.location else None)
        for one in wanting
        for finding in one.content.findings
    )
    return MajorEdit(
        machine=machine,
        decision=decision,
        n_readers=len(said),
        n_for=len(wanting),
        ratings=tuple(one.content.rating for one in said if one.content.rating),
        findings=findings,
        actions=_different(one.content.action for one in wanting),
        comments=_different(one.content.comment.strip() for one in wanting),
        documents=tuple((one.review.series, one.review.document) for one in wanting),
    )


def _different(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))


def _machine(index: FindingsIndex, places: Sequence[SegmentRef]) -> dict[SegmentRef, MachineSegment]:
    segments = [place for place in places if place.segment != WHOLE]
    found, _ = machine_segments(index, WorklistFilters(), only=segments, limit=len(segments)) if segments else ([], 0)
    wholes = [machine_segment(index, place) for place in places if place.segment == WHOLE]
    return {one.place: one for one in (*found, *wholes) if one is not None}


def _unknown(place: SegmentRef, said: Sequence[_Said]) -> MachineSegment:
    """Of a segmentation whose report is gone."""
    review = said[0].review
    return MachineSegment(place, review.study, review.ct_series, "", "", "", 0.0, "", (), "", "")


def _badness(edit: MajorEdit) -> tuple[int, int, float, SegmentRef]:
    grades = [int(rating) for rating in edit.ratings if rating.isdecimal()]
    verdicts = ("unusable", "review", "usable", "")
    machine = edit.machine
    return min(grades, default=9), verdicts.index(machine.verdict), -machine.risk, machine.place


# --------------------------------------------------------------------------------------------------------- as files

COLUMNS = (
    *("study", "ct_series", "segmentation", "segment", "label", "structure", "model", "verdict", "risk", "decision"),
    *("readers", "readers_for", "ratings", "findings", "severities", "actions", "comments", "locations_mm"),
)


def as_csv(edits: Iterable[MajorEdit], *, with_comments: bool = True) -> str:
    """CSV (RFC 4180) with a heading; several values in a cell are separated by `` | ``, points are ``x y z`` in LPS mm.

    A text that a spreadsheet would run as a formula gets an apostrophe before it.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    columns = [name for name in COLUMNS if with_comments or name != "comments"]
    writer.writerow(columns)
    for edit in edits:
        cells = _cells(edit)
        writer.writerow([spreadsheet_cell(cells[name]) for name in columns])
    return buffer.getvalue()


def _cells(edit: MajorEdit) -> dict[str, object]:
    machine = edit.machine
    said = _different((*edit.comments, *(comment.strip() for _, _, comment, _ in edit.findings)))
    return {
        "study": machine.study,
        "ct_series": machine.ct_series,
        "segmentation": machine.place.segmentation,
        "segment": machine.place.segment,
        "label": machine.label,
        "structure": machine.structure,
        "model": machine.model,
        "verdict": machine.verdict,
        "risk": round(machine.risk, 4),
        "decision": str(edit.decision),
        "readers": edit.n_readers,
        "readers_for": edit.n_for,
        "ratings": _joined(edit.ratings),
        "findings": _joined(kind for kind, _, _, _ in edit.findings),
        "severities": _joined(severity or "-" for _, severity, _, _ in edit.findings),
        "actions": _joined(edit.actions),
        "comments": _joined(said),
        "locations_mm": _joined(" ".join(f"{value:.1f}" for value in point) for *_, point in edit.findings if point),
    }


def _joined(values: Iterable[str]) -> str:
    return " | ".join(values)


@dataclass(slots=True)
class _Referenced:
    """A segmentation with the segments of it that are to be changed."""

    instance: Instance | None
    edits: list[MajorEdit] = field(default_factory=list)


def as_references(edits: Iterable[MajorEdit], archive: Archive) -> dict[str, Any]:
    """The same as references to DICOM objects: CT series, SEG with its segments, reviews; JSON.

    Paths are those of DICOMweb (PS3.18, section 10.4), below the service's URL. A SEG that is in the archive no more
    has no series and no path. Raises `PeerUnavailable` and `PeerRefused` if the archive does not answer.
    """
    wanted = list(edits)
    uids = sorted({edit.machine.place.segmentation for edit in wanted})
    instances = {one.sop_instance_uid: one for one in archive.find_instances(uids)} if uids else {}
    by_seg: dict[str, _Referenced] = {}
    for edit in wanted:
        uid = edit.machine.place.segmentation
        by_seg.setdefault(uid, _Referenced(instances.get(uid))).edits.append(edit)
    return {"segmentations": [_reference(uid, one) for uid, one in by_seg.items()]}


def _reference(uid: str, one: _Referenced) -> Mapping[str, Any]:
    machine, instance = one.edits[0].machine, one.instance
    study, series = machine.study, instance.series_instance_uid if instance else ""
    documents = sorted({document for edit in one.edits for document in edit.documents})
    return {
        "study_instance_uid": study,
        "ct": {"series_instance_uid": machine.ct_series, "path": _path(study, machine.ct_series)},
        "segmentation": {
            "series_instance_uid": series,
            "sop_class_uid": instance.sop_class_uid if instance else "",
            "sop_instance_uid": uid,
            "path": _path(study, series, uid) if series else "",
        },
        "model": machine.model,
        "segments": [
            {
                "number": edit.machine.place.segment,
                "label": edit.machine.label,
                "structure": edit.machine.structure,
                "decision": str(edit.decision),
                "ratings": list(edit.ratings),
                "findings": [kind for kind, _, _, _ in edit.findings],
                "actions": list(edit.actions),
                "points_mm": [list(point) for *_, point in edit.findings if point],
            }
            for edit in sorted(one.edits, key=lambda edit: edit.machine.place)
        ],
        "reviews": [
            {"series_instance_uid": of, "sop_instance_uid": document, "path": _path(study, of, document)}
            for of, document in documents
        ],
    }


def _path(study: str, series: str, instance: str = "") -> str:
    return f"/studies/{study}/series/{series}" + (f"/instances/{instance}" if instance else "")
