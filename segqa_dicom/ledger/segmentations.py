"""Segmentation objects, what each refers to, and what became of it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable

from sqlalchemy import RowMapping, Select, select, update

from segqa_dicom.ledger.batches import batches
from segqa_dicom.ledger.database import Database
from segqa_dicom.ledger.rows import SegmentationRow, SegmentationState
from segqa_dicom.ledger.tables import segmentations


class Segmentations(Database):
    """The part of the ledger that knows segmentations."""

    def add_segmentation(self, segmentation: SegmentationRow) -> bool:
        """Add a segmentation. False, and nothing changed, if its SOP Instance UID is known."""
        statement = self._insert(segmentations).values(_values(segmentation)).on_conflict_do_nothing()
        statement = statement.returning(segmentations.c.sop_instance_uid)
        with self._writing() as connection:
            return connection.execute(statement).first() is not None

    def segmentations_on(self, ct_series_instance_uid: str) -> list[SegmentationRow]:
        """All segmentations drawn on a CT series, refused ones too, in the order of arrival."""
        return self._segmentations(
            select(segmentations).where(segmentations.c.ct_series_instance_uid == ct_series_instance_uid)
        )

    def unresolved_segmentations(self) -> list[SegmentationRow]:
        """Segmentations of which the CT series is not known yet, in the order of arrival; not refused ones."""
        return self._segmentations(
            select(segmentations).where(
                segmentations.c.ct_series_instance_uid.is_(None), segmentations.c.state != SegmentationState.REFUSED
            )
        )

    def waiting_subjects(self) -> list[str]:
        """Series Instance UIDs of the CT that segmentations are drawn on which wait, sorted."""
        series = segmentations.c.ct_series_instance_uid
        is_waiting = segmentations.c.state == SegmentationState.WAITING
        query = select(series).where(is_waiting, series.is_not(None)).distinct().order_by(series)
        with self._reading() as connection:
            return list(connection.execute(query).scalars())

    def segmentation(self, sop_instance_uid: str) -> SegmentationRow | None:
        """A segmentation, if it is known."""
        found = self._segmentations(select(segmentations).where(segmentations.c.sop_instance_uid == sop_instance_uid))
        return found[0] if found else None

    def known_segmentations(self, sop_instance_uids: Iterable[str]) -> set[str]:
        """Those of the SOP Instance UIDs that are known."""
        known: set[str] = set()
        column = segmentations.c.sop_instance_uid
        with self._reading() as connection:
            for batch in batches(sop_instance_uids):
                known.update(connection.execute(select(column).where(column.in_(batch))).scalars())
        return known

    def resolve_segmentation(self, sop_instance_uid: str, ct_series_instance_uid: str) -> bool:
        """Note which CT series a segmentation is drawn on. False if it is not known."""
        return self._change(sop_instance_uid, ct_series_instance_uid=ct_series_instance_uid)

    def mark_segmentation(self, sop_instance_uid: str, state: SegmentationState, reason: str = "") -> bool:
        """Note what became of a segmentation. False if it is not known."""
        return self._change(sop_instance_uid, state=state, reason=reason)

    def _change(self, sop_instance_uid: str, **values: str) -> bool:
        statement = update(segmentations).where(segmentations.c.sop_instance_uid == sop_instance_uid).values(**values)
        with self._writing() as connection:
            return connection.execute(statement).rowcount == 1

    def _segmentations(self, query: Select[tuple[object, ...]]) -> list[SegmentationRow]:
        query = query.order_by(segmentations.c.arrived_at, segmentations.c.sop_instance_uid)
        with self._reading() as connection:
            return [_segmentation(row) for row in connection.execute(query).mappings()]


def _values(segmentation: SegmentationRow) -> dict[str, object]:
    return {
        "sop_instance_uid": segmentation.sop_instance_uid,
        "study_instance_uid": segmentation.study_instance_uid,
        "series_instance_uid": segmentation.series_instance_uid,
        "sop_class_uid": segmentation.sop_class_uid,
        "digest": segmentation.digest,
        "ct_series_instance_uid": segmentation.ct_series_instance_uid,
        "referenced_series": list(segmentation.referenced_series),
        "referenced_instances": zlib.compress(json.dumps(segmentation.referenced_instances).encode()),
        "arrived_at": segmentation.arrived_at,
        "state": segmentation.state,
        "reason": segmentation.reason,
    }


def _segmentation(row: RowMapping) -> SegmentationRow:
    return SegmentationRow(
        sop_instance_uid=row["sop_instance_uid"],
        study_instance_uid=row["study_instance_uid"],
        series_instance_uid=row["series_instance_uid"],
        sop_class_uid=row["sop_class_uid"],
        digest=row["digest"],
        ct_series_instance_uid=row["ct_series_instance_uid"],
        referenced_series=tuple(row["referenced_series"]),
        referenced_instances=tuple(json.loads(zlib.decompress(row["referenced_instances"]))),
        arrived_at=row["arrived_at"],
        state=SegmentationState(row["state"]),
        reason=row["reason"],
    )
