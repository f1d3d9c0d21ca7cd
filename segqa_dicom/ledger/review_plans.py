"""Who is to look at what: assignments and hidden repeats; ratings from tables; annotations of other programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import RowMapping, and_, delete, func, select, update

from segqa_dicom.ledger.batches import batches
from segqa_dicom.ledger.database import Database
from segqa_dicom.ledger.review_rows import AnnotationRow, AssignmentRow, ImportedRow, RepeatRow
from segqa_dicom.ledger.tables import (
    annotation_documents,
    assignments,
    imported_ratings,
    located_annotations,
    repeats,
)


class ReviewPlans(Database):
    """The part of the ledger that knows who is to look at what, and what came from elsewhere."""

    # Assignments

    def assign(self, segmentation: str, segment: int, login: str, *, by: str, now: float) -> None:
        """Have a reader look at a segment, or at a whole segmentation (segment 0); doing it again changes nothing."""
        values = {"segmentation": segmentation, "segment": segment, "login": login}
        statement = self._insert(assignments).values(**values, assigned_by=by, assigned_at=now)
        with self._writing() as connection:
            connection.execute(statement.on_conflict_do_nothing())

    def unassign(self, segmentation: str, segment: int, login: str | None = None) -> int:
        """Take an assignment back, or (login None) all of that segment; returns how many there were."""
        these = and_(assignments.c.segmentation == segmentation, assignments.c.segment == segment)
        if login is not None:
            these = and_(these, assignments.c.login == login)
        with self._writing() as connection:
            return connection.execute(delete(assignments).where(these)).rowcount

    def assignments(
        self, *, login: str | None = None, segmentations: Iterable[str] | None = None
    ) -> list[AssignmentRow]:
        """Assignments of a reader, of segmentations, or all."""
        query = select(assignments).order_by(assignments.c.segmentation, assignments.c.segment, assignments.c.login)
        if login is not None:
            query = query.where(assignments.c.login == login)
        found: list[AssignmentRow] = []
        with self._reading() as connection:
            for batch in [None] if segmentations is None else batches(sorted(set(segmentations))):
                some = query if batch is None else query.where(assignments.c.segmentation.in_(batch))
                found += [
                    AssignmentRow(row["segmentation"], row["segment"], row["login"], row["assigned_by"])
                    for row in connection.execute(some).mappings()
                ]
        return found

    # Repeats

    def add_repeats(self, rows: Sequence[RepeatRow], *, now: float) -> int:
        """Schedule repeats; returns how many were new."""
        values = [
            {
                "login": row.login,
                "segmentation": row.segmentation,
                "segment": row.segment,
                "reading": row.reading,
                "scheduled_at": now,
            }
            for row in sorted(rows)
        ]
        with self._writing() as connection:
            return self._add_new(connection, repeats, values)

    def repeats(self, login: str | None = None) -> list[RepeatRow]:
        """Repeats of a reader, or all; those that were read, too."""
        query = select(repeats)
        if login is not None:
            query = query.where(repeats.c.login == login)
        with self._reading() as connection:
            return sorted(
                RepeatRow(row["login"], row["segmentation"], row["segment"], row["reading"])
                for row in connection.execute(query).mappings()
            )

    # Imported ratings

    def add_imported(self, rows: Sequence[ImportedRow], *, now: float) -> int:
        """Keep ratings from tables; returns how many were new. Those that are known stay as they are."""
        values = [
            {
                "rating_id": row.rating_id,
                "login": row.login,
                "subject": row.subject,
                "content": dict(row.content),
                "document": row.document,
                "imported_at": now,
            }
            for row in rows
        ]
        with self._writing() as connection:
            return self._add_new(connection, imported_ratings, values)

    def imported(self, *, is_waiting: bool = False) -> list[ImportedRow]:
        """Imported ratings by their ids; is_waiting: only those that have become no review yet."""
        query = select(imported_ratings).order_by(imported_ratings.c.rating_id)
        if is_waiting:
            query = query.where(imported_ratings.c.document == "")
        with self._reading() as connection:
            return [
                ImportedRow(row["rating_id"], row["login"], row["subject"], row["content"], row["document"])
                for row in connection.execute(query).mappings()
            ]

    def imported_in(self, rating_ids: Iterable[str], document: str) -> None:
        """Note that a document says what imported ratings say."""
        with self._writing() as connection:
            for batch in batches(rating_ids):
                these = imported_ratings.c.rating_id.in_(batch)
                connection.execute(update(imported_ratings).where(these).values(document=document))

    # Annotations of other programs

    def known_annotations(self, documents: Iterable[str]) -> set[str]:
        """Those of the documents whose annotations were looked for, whether there were any or not."""
        found: set[str] = set()
        with self._reading() as connection:
            for batch in batches(documents):
                query = select(annotation_documents.c.document).where(annotation_documents.c.document.in_(batch))
                found.update(connection.execute(query).scalars())
        return found

    def add_annotations(
        self,
        documents: Iterable[str],
        rows: Sequence[AnnotationRow],
        *,
        now: float,
        reasons: Mapping[str, str] | None = None,
        basis: str = "",
    ) -> None:
        """Keep the annotations of documents that were looked at, in place of what was known of these documents.

        reasons : why nothing of a document could be placed, by document
        basis : a digest of what was known when they were placed
        """
        why = reasons or {}
        names = sorted({*documents, *why, *(row.document for row in rows)})
        known = self._insert(annotation_documents)
        known = known.on_conflict_do_update(
            index_elements=[annotation_documents.c.document],
            set_={name: known.excluded[name] for name in ("looked_at", "reason", "basis")},
        )
        with self._writing() as connection:
            for batch in batches(names):
                values = [
                    {"document": name, "looked_at": now, "reason": why.get(name, ""), "basis": basis} for name in batch
                ]
                connection.execute(known, values)
                connection.execute(delete(located_annotations).where(located_annotations.c.document.in_(batch)))
            if rows:
                connection.execute(located_annotations.insert(), [_annotation_values(row) for row in rows])

    def annotation_documents(self) -> dict[str, tuple[str, str]]:
        """Documents whose annotations were looked for: on what basis, and why they lie nowhere (empty if they do)."""
        table = annotation_documents
        with self._reading() as connection:
            rows = connection.execute(select(table.c.document, table.c.basis, table.c.reason))
            return {row[0]: (row[1], row[2]) for row in rows}

    def forget_annotations(self, documents: Iterable[str]) -> None:
        """Forget documents that are in the archive no more, or that are to be looked at again."""
        with self._writing() as connection:
            for batch in batches(documents):
                connection.execute(delete(located_annotations).where(located_annotations.c.document.in_(batch)))
                connection.execute(delete(annotation_documents).where(annotation_documents.c.document.in_(batch)))

    def annotations_of(self, segmentations: Iterable[str]) -> list[AnnotationRow]:
        """Annotations that lie on segments of these segmentations."""
        found: list[AnnotationRow] = []
        order = (located_annotations.c.document, located_annotations.c.group_number)
        with self._reading() as connection:
            for batch in batches(sorted(set(segmentations))):
                query = select(located_annotations).where(located_annotations.c.segmentation.in_(batch))
                found += [_annotation(row) for row in connection.execute(query.order_by(*order)).mappings()]
        return found

    def annotations_in(self, study: str) -> list[AnnotationRow]:
        """All annotations in a study, those that lie on no segment, too."""
        query = select(located_annotations).where(located_annotations.c.study == study)
        order = (located_annotations.c.document, located_annotations.c.group_number)
        with self._reading() as connection:
            return [_annotation(row) for row in connection.execute(query.order_by(*order)).mappings()]

    def annotation_counts(self, segmentations: Iterable[str] | None = None) -> dict[tuple[str, int], int]:
        """Number of annotations by (segmentation, segment); segmentations None = of all that have any."""
        place = (located_annotations.c.segmentation, located_annotations.c.segment)
        query = select(*place, func.count()).where(located_annotations.c.segmentation != "").group_by(*place)
        found: dict[tuple[str, int], int] = {}
        with self._reading() as connection:
            for batch in [None] if segmentations is None else batches(sorted(set(segmentations))):
                some = query if batch is None else query.where(located_annotations.c.segmentation.in_(batch))
                found |= {(row[0], row[1]): row[2] for row in connection.execute(some)}
        return found


def _annotation_values(row: AnnotationRow) -> dict[str, object]:
    return {
        "document": row.document,
        "group_number": row.group,
        "segmentation": row.segmentation,
        "segment": row.segment,
        "study": row.study,
        "content": dict(row.content),
    }


def _annotation(row: RowMapping) -> AnnotationRow:
    return AnnotationRow(
        row["document"], row["group_number"], row["segmentation"], row["segment"], row["study"], row["content"]
    )
