"""Documents on their way, as rows: the same columns for those of cases and those of readers."""

from __future__ import annotations

import zlib

from sqlalchemy import RowMapping

from segqa_dicom.ledger.rows import OutboxDocument


def document_values(document: OutboxDocument) -> dict[str, object]:
    """A document as columns; its content is compressed."""
    return {
        "sop_instance_uid": document.sop_instance_uid,
        "series_instance_uid": document.series_instance_uid,
        "study_instance_uid": document.study_instance_uid,
        "sop_class_uid": document.sop_class_uid,
        "kind": document.kind,
        "content": zlib.compress(document.content),
        "digest": document.digest,
    }


def document_of(row: RowMapping) -> OutboxDocument:
    """What `document_values` made columns of."""
    return OutboxDocument(
        sop_instance_uid=row["sop_instance_uid"],
        series_instance_uid=row["series_instance_uid"],
        study_instance_uid=row["study_instance_uid"],
        sop_class_uid=row["sop_class_uid"],
        kind=row["kind"],
        content=zlib.decompress(row["content"]),
        digest=row["digest"],
    )
