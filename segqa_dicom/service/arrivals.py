"""What has arrived, told to the ledger: which CT series have news, which segmentations there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from segqa_dicom.archive import Archive, Instance, Series, Stored
from segqa_dicom.archive.content import content_digest
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.sop_classes import CT_CLASSES, SEG_CLASSES
from segqa_dicom.errors import InputError
from segqa_dicom.ledger import Conflict, Ledger, SegmentationRow, SegmentationState, Touch
from segqa_dicom.reading.scan import read_header

_AT_ONCE = 8
"""Segmentations fetched at a time: they can be large."""


class Arrivals:
    """Notes arrivals. Noting something twice changes nothing but the quiet time.

    debounce_s : so long nothing may arrive before a CT series is looked at
    work_folder : where segmentations are put that must be fetched to be read
    """

    def __init__(
        self, archive: Archive, ledger: Ledger, limits: Limits, *, debounce_s: float, work_folder: Path
    ) -> None:
        self._archive, self._ledger, self._limits = archive, ledger, limits
        self._debounce_s, self._work_folder = debounce_s, work_folder

    def note(
        self, instances: Sequence[Instance], *, now: float, files: Mapping[str, Path] | None = None
    ) -> tuple[str, ...]:
        """Note objects that are in the archive now; returns the SOP Instance UIDs of segmentations that are new.

        files : where objects can be read, by SOP Instance UID; the others are fetched
        """
        touches = {
            one.series_instance_uid: self._touch(one.series_instance_uid, one.study_instance_uid, now)
            for one in instances
            if one.sop_class_uid in CT_CLASSES
        }
        segmentations = {one.sop_instance_uid: one for one in instances if one.sop_class_uid in SEG_CLASSES}
        known = self._ledger.known_segmentations(segmentations)
        new = [one for uid, one in segmentations.items() if uid not in known]
        for rows in self._read(new, files or {}, now):
            for row in rows:
                self._ledger.add_segmentation(row)
        for uid in segmentations:
            found = self._ledger.segmentation(uid)
            if found is not None and found.ct_series_instance_uid:
                series = found.ct_series_instance_uid
                touches.setdefault(series, self._touch(series, None, now))
        self._ledger.touch_many(touches.values())
        return tuple(one.sop_instance_uid for one in new)

    def note_series(self, series: Iterable[Series], *, now: float) -> None:
        """Note that something may have happened in CT series."""
        self._ledger.touch_many([self._touch(one.series_instance_uid, one.study_instance_uid, now) for one in series])

    def note_conflict(self, instance: Instance, outcome: Stored, *, now: float) -> None:
        """Note that an object came with another content than the one that is kept."""
        # What came may claim to be of another series; the review of the one that is kept is to tell of it.
        kept = self._archive.find_instances([instance.sop_instance_uid]) or [instance]
        conflict = Conflict(
            sop_instance_uid=instance.sop_instance_uid,
            kept_digest=outcome.kept_digest,
            refused_digest=outcome.refused_digest,
            series_instance_uid=kept[0].series_instance_uid,
            seen_at=now,
        )
        self._ledger.add_conflict(conflict)
        self.note(kept, now=now)  # also if it was noted before: whoever noted it may have died then

    def _touch(self, series: str, study: str | None, now: float) -> Touch:
        return Touch(series, study, arrived_at=now, check_at=now + self._debounce_s)

    def _read(
        self, instances: Sequence[Instance], files: Mapping[str, Path], now: float
    ) -> Iterable[list[SegmentationRow]]:
        """Rows of segmentations, fetched in small groups where they are not at hand."""
        at_hand = [one for one in instances if one.sop_instance_uid in files]
        yield [self._row(one, files[one.sop_instance_uid], now) for one in at_hand]
        others = [one for one in instances if one.sop_instance_uid not in files]
        for start in range(0, len(others), _AT_ONCE):
            group = others[start : start + _AT_ONCE]
            with TemporaryDirectory(dir=self._work_folder, prefix="arrivals-") as folder:
                fetched = self._archive.fetch(group, Path(folder))
                yield [
                    self._row(one, fetched[one.sop_instance_uid], now)
                    for one in group
                    if one.sop_instance_uid in fetched
                ]

    def _row(self, instance: Instance, path: Path, now: float) -> SegmentationRow:
        """One that cannot be read is noted, too, so that it is not read again and again."""
        state, reason = SegmentationState.WAITING, ""
        try:
            header = read_header(path, self._limits)
            series, images = header.referenced_series, header.referenced_instances
            digest = content_digest(path)
        except InputError as error:
            self._ledger.refuse(
                sop_instance_uid=instance.sop_instance_uid,
                name=type(error).__name__,
                reason=str(error),
                path="in the archive",
                now=now,
            )
            series, images, digest = frozenset(), frozenset(), ""
            state, reason = SegmentationState.REFUSED, str(error)
        return SegmentationRow(
            sop_instance_uid=instance.sop_instance_uid,
            study_instance_uid=instance.study_instance_uid,
            series_instance_uid=instance.series_instance_uid,
            sop_class_uid=instance.sop_class_uid,
            digest=digest,
            ct_series_instance_uid=next(iter(series)) if len(series) == 1 else None,
            referenced_series=tuple(sorted(series)),
            referenced_instances=tuple(sorted(images)),
            arrived_at=now,
            state=state,
            reason=reason,
        )
