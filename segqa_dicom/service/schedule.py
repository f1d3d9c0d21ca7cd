"""What has arrived becomes cases that are ready."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from segqa_dicom import __version__, log
from segqa_dicom.archive import Archive, Instance
from segqa_dicom.checks.ruleset import RuleSet
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.sop_classes import CT_CLASSES, SEG_CLASSES
from segqa_dicom.digests import digest
from segqa_dicom.ledger import Case, Ledger, NewCase, SegmentationRow, SegmentationState, Subject, Touch
from segqa_dicom.measures.results import MEASURING_VERSION
from segqa_dicom.reading.grouping import group
from segqa_dicom.reading.scan import Header, scan
from segqa_dicom.service.readiness import QUIET_S, decide, majority, revision_key

_BATCH = 50
_LOOKED_FOR = 3
"""So many of the images of a segmentation tell whether they came in another series than the one that it names."""
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 300.0
"""Between two questions to the archive where a segmentation belongs that does not name one CT series."""


@dataclass(frozen=True, slots=True)
class _Place:
    """The CT series that a segmentation was drawn on; or None, and why it is not known."""

    series: str | None
    reason: str = ""


class Scheduler:
    """Looks at CT series that are due and opens a revision of their review where something is new.

    deadline_s : how long to wait for images
    work_folder : where files are put that must be fetched to find out what belongs together
    """

    def __init__(
        self,
        archive: Archive,
        ledger: Ledger,
        ruleset: RuleSet,
        limits: Limits,
        *,
        deadline_s: float,
        work_folder: Path,
    ) -> None:
        self._archive, self._ledger, self._ruleset, self._limits = archive, ledger, ruleset, limits
        self._deadline_s, self._work_folder = deadline_s, work_folder
        self._try_again_at: dict[str, float] = {}
        self._compared: dict[str, str] = {}

    def run_once(self, *, now: float) -> list[Case]:
        """Evaluate what is due; returns the revisions that were opened. Raises `PeerError` if a peer fails."""
        self._resolve(now)
        opened = [self._evaluate(subject, now) for subject in self._ledger.due_subjects(now, _BATCH)]
        return [case for case in opened if case is not None]

    def _evaluate(self, subject: Subject, now: float) -> Case | None:
        series = subject.ct_series_instance_uid
        rows = self._ledger.segmentations_on(series)
        opened = None
        check_at = None
        if rows:
            images = self._images(subject)
            present = {one.sop_instance_uid for one in images}
            if images:
                present |= self._elsewhere(rows, present)
            arrived_at = subject.arrived_at
            decision = decide(rows, present, arrived_at=arrived_at, now=now, deadline_s=self._deadline_s)
            check_at = decision.check_at
            if decision.reviewable and images:
                opened = self._open(subject, images, decision.reviewable, dict(decision.missing), now)
            if not images:
                self._without_images(decision.waiting, now)
        # Last, so that a crash before it means doing the same again.
        self._ledger.evaluated(series, subject.arrived_at, now=now, check_at=check_at)
        return opened

    def _open(
        self,
        subject: Subject,
        images: list[Instance],
        reviewable: tuple[SegmentationRow, ...],
        missing: dict[str, tuple[str, ...]],
        now: float,
    ) -> Case | None:
        series = subject.ct_series_instance_uid
        conflicts = self._ledger.conflicts_in([series, *(row.sop_instance_uid for row in reviewable)])
        key = revision_key(
            series,
            (one.sop_instance_uid for one in images),
            reviewable,
            ruleset_hash=self._ruleset.hash,
            measuring_version=MEASURING_VERSION,
            conflicts=((one.sop_instance_uid, one.kept_digest, one.refused_digest) for one in conflicts),
        )
        case = self._ledger.open_revision(
            NewCase(
                key=key,
                ct_study_instance_uid=images[0].study_instance_uid,
                ct_series_instance_uid=series,
                segmentations=tuple(row.sop_instance_uid for row in reviewable),
                ruleset_hash=self._ruleset.hash,
                code_version=__version__,
                missing=missing,
            ),
            now=now,
        )
        if case is not None:
            for row in reviewable:
                if row.state is SegmentationState.REFUSED:  # something has changed since; it gets another chance
                    self._ledger.mark_segmentation(row.sop_instance_uid, SegmentationState.WAITING)
            log.event(
                "case opened",
                case=case.case_id,
                revision=case.revision,
                segmentations=len(reviewable),
                images=len(images),
                seconds_since_arrival=round(now - subject.arrived_at, 1),
            )
        return case

    def _without_images(self, rows: tuple[SegmentationRow, ...], now: float) -> None:
        """Segmentations on a CT series of which nothing is there: their images may have come in another one."""
        for row in rows:
            first = self._archive.find_instances(row.referenced_instances[:_LOOKED_FOR])
            series = next((one.series_instance_uid for one in first if one.sop_class_uid in CT_CLASSES), None)
            if series is not None and series != row.ct_series_instance_uid:
                self._resolved(row, series, now)
            elif now >= row.arrived_at + self._deadline_s:
                reason = "the CT that it was drawn on has not arrived"
                self._ledger.mark_segmentation(row.sop_instance_uid, SegmentationState.INCOMPLETE, reason)

    def _images(self, subject: Subject) -> list[Instance]:
        """What of the CT series is in the archive."""
        series = subject.ct_series_instance_uid
        studies = {subject.ct_study_instance_uid} - {None}
        if not studies:
            studies = {one.study_instance_uid for one in self._archive.list_series(series_instance_uid=series)}
        found = [one for study in sorted(map(str, studies)) for one in self._archive.list_instances(study, series)]
        return [one for one in found if one.sop_class_uid in CT_CLASSES]

    def _elsewhere(self, rows: list[SegmentationRow], present: set[str]) -> set[str]:
        """Images that segmentations name and that are in other series: they have arrived, too."""
        absent = {uid for row in rows for uid in row.referenced_instances} - present
        return {one.sop_instance_uid for one in self._archive.find_instances(sorted(absent))} if absent else set()

    # Segmentations that do not name one CT series

    def _resolve(self, now: float) -> None:
        for row in self._ledger.unresolved_segmentations():
            uid, waited_s = row.sop_instance_uid, now - row.arrived_at
            if now < self._try_again_at.get(uid, now):
                continue
            # The longer it has been waiting, the less likely it is that its CT comes in this moment.
            self._try_again_at[uid] = now + min(max(_SHORTEST_PAUSE_S, waited_s / 10), _LONGEST_PAUSE_S)
            place = self._place_of(row, now)
            if place.series is not None:
                self._resolved(row, place.series, now)
            elif row.state is SegmentationState.WAITING and waited_s >= self._deadline_s:
                self._ledger.mark_segmentation(uid, SegmentationState.INCOMPLETE, place.reason)

    def _resolved(self, row: SegmentationRow, series: str, now: float) -> None:
        self._try_again_at.pop(row.sop_instance_uid, None)
        self._compared.pop(row.sop_instance_uid, None)
        self._ledger.resolve_segmentation(row.sop_instance_uid, series)
        self._ledger.touch_many([Touch(series, None, arrived_at=row.arrived_at, check_at=now)])

    def _place_of(self, row: SegmentationRow, now: float) -> _Place:
        """The CT series that a segmentation was drawn on, as far as its references and the archive tell."""
        if not (row.referenced_instances or row.referenced_series):
            return self._place_by_position(row, now)
        named = [
            uid
            for uid in row.referenced_series
            if any(one.modality == "CT" for one in self._archive.list_series(series_instance_uid=uid))
        ]
        counts = dict.fromkeys(named, 0)
        found = self._archive.find_instances(row.referenced_instances)
        for one in found:
            if one.sop_class_uid in CT_CLASSES:
                counts[one.series_instance_uid] = counts.get(one.series_instance_uid, 0) + 1
        absent = len(set(row.referenced_instances)) - len({one.sop_instance_uid for one in found})
        if not row.referenced_instances:
            absent = len(row.referenced_series) - len(named)
        is_over = now >= row.arrived_at + self._deadline_s
        return _Place(majority(counts, 0 if is_over else absent), "it names no CT series that has arrived")

    def _place_by_position(self, row: SegmentationRow, now: float) -> _Place:
        """By frame of reference and position, among the CT series of its study, when nothing more comes."""
        found = self._archive.list_series(study_instance_uid=row.study_instance_uid, modality="CT")
        reason = "it names no CT series"
        if not found:
            return _Place(None, f"{reason}, and its study has none")
        arrived = [subject.arrived_at for one in found if (subject := self._ledger.subject(one.series_instance_uid))]
        if now < max(row.arrived_at, *arrived, 0.0) + QUIET_S:
            return _Place(None, reason)
        images = [
            one for s in found for one in self._archive.list_instances(s.study_instance_uid, s.series_instance_uid)
        ]
        key = digest(sorted(one.sop_instance_uid for one in images))
        if self._compared.get(row.sop_instance_uid) == key:
            return _Place(None, row.reason or reason)
        place = self._compare_positions(row, images)
        self._compared[row.sop_instance_uid] = key
        if place.series is None:
            self._ledger.mark_segmentation(row.sop_instance_uid, row.state, place.reason)
        return place

    def _compare_positions(self, row: SegmentationRow, images: list[Instance]) -> _Place:
        itself = Instance(row.study_instance_uid, row.series_instance_uid, row.sop_instance_uid, row.sop_class_uid)
        with TemporaryDirectory(dir=self._work_folder, prefix="grouping-") as folder:
            files = self._archive.fetch([itself, *images], Path(folder))
            headers, _ = scan(files.values(), self._limits)
            cases, left_out = group([one for one in headers if _is_wanted(one, row)], self._limits)
        if cases:
            return _Place(cases[0].name)
        reasons = [one.reason for one in left_out if one.sop_instance_uid == row.sop_instance_uid]
        return _Place(None, reasons[0] if reasons else "it cannot be read any more")


def _is_wanted(header: Header, row: SegmentationRow) -> bool:
    """Other segmentations of the study do not matter."""
    return header.sop_class_uid not in SEG_CLASSES or header.sop_instance_uid == row.sop_instance_uid
