"""What has arrived becomes cases that are ready."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from segqa_dicom import __version__, log
from segqa_dicom.archive import Archive, Instance
from segqa_dicom.checks.ruleset import RuleSet
from segqa_dicom.ledger import Case, Ledger, NewCase, SegmentationRow, SegmentationState, Subject, Touch
from segqa_dicom.measures.results import MEASURING_VERSION
from segqa_dicom.reading.grouping import group
from segqa_dicom.reading.limits import Limits
from segqa_dicom.reading.scan import SEG_CLASSES, scan
from segqa_dicom.service.readiness import decide, revision_key

_BATCH = 50
_RESOLVE_EVERY_S = 5.0
"""The archive is asked so often where a segmentation belongs that does not name one CT series."""


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
            for row in decision.waiting:
                if not images and now >= row.arrived_at + self._deadline_s:
                    reason = "the CT that it was drawn on has not arrived"
                    self._ledger.mark_segmentation(row.sop_instance_uid, SegmentationState.INCOMPLETE, reason)
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

    def _images(self, subject: Subject) -> list[Instance]:
        """What of the CT series is in the archive."""
        series = subject.ct_series_instance_uid
        studies = {subject.ct_study_instance_uid} - {None}
        if not studies:
            studies = {one.study_instance_uid for one in self._archive.list_series(series_instance_uid=series)}
        return [one for study in sorted(map(str, studies)) for one in self._archive.list_instances(study, series)]

    def _elsewhere(self, rows: list[SegmentationRow], present: set[str]) -> set[str]:
        """Images that segmentations name and that are in other series: they have arrived, too."""
        absent = {uid for row in rows for uid in row.referenced_instances} - present
        return {one.sop_instance_uid for one in self._archive.find_instances(sorted(absent))} if absent else set()

    # Segmentations that do not name one CT series

    def _resolve(self, now: float) -> None:
        for row in self._ledger.unresolved_segmentations():
            if now < self._try_again_at.get(row.sop_instance_uid, now):
                continue
            self._try_again_at[row.sop_instance_uid] = now + _RESOLVE_EVERY_S
            series = self._series_of(row)
            if series is not None:
                del self._try_again_at[row.sop_instance_uid]
                self._ledger.resolve_segmentation(row.sop_instance_uid, series)
                self._ledger.touch_many([Touch(series, None, arrived_at=now, check_at=now)])
            elif row.state is SegmentationState.WAITING and now >= row.arrived_at + self._deadline_s:
                reason = "it names no CT series that has arrived"
                self._ledger.mark_segmentation(row.sop_instance_uid, SegmentationState.INCOMPLETE, reason)

    def _series_of(self, row: SegmentationRow) -> str | None:
        """The CT series that a segmentation was drawn on, as far as its references and the archive tell."""
        counts: dict[str, int] = {}
        for one in self._archive.find_instances(row.referenced_instances):
            counts[one.series_instance_uid] = counts.get(one.series_instance_uid, 0) + 1
        for uid in row.referenced_series:
            if any(one.modality == "CT" for one in self._archive.list_series(series_instance_uid=uid)):
                counts.setdefault(uid, 0)
        if counts:
            return max(sorted(counts), key=lambda uid: counts[uid])
        if row.referenced_instances or row.referenced_series:
            return None
        return self._series_by_position(row)

    def _series_by_position(self, row: SegmentationRow) -> str | None:
        """By frame of reference, among the CT series of its study."""
        found = self._archive.list_series(study_instance_uid=row.study_instance_uid, modality="CT")
        if not found:
            return None
        if len(found) == 1:
            return found[0].series_instance_uid
        itself = Instance(row.study_instance_uid, row.series_instance_uid, row.sop_instance_uid, row.sop_class_uid)
        images = [
            one for s in found for one in self._archive.list_instances(s.study_instance_uid, s.series_instance_uid)
        ]
        with TemporaryDirectory(dir=self._work_folder, prefix="grouping-") as folder:
            files = self._archive.fetch([itself, *images], Path(folder))
            headers, _ = scan(files.values(), self._limits)
            cases, _ = group([one for one in headers if one.sop_class_uid not in SEG_CLASSES
                              or one.sop_instance_uid == row.sop_instance_uid], self._limits)  # fmt: skip
        return cases[0].name if cases else None
