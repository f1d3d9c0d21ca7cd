"""What readers typed and signed: drafts, reviews in documents, and those documents on their way to the archive.

A draft has a version, which grows with each change; who saves says which version was changed, so that of two windows of
one reader the older one cannot overwrite what the newer one said. Different readers never meet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, delete, insert, select, update

from segqa_dicom.errors import PeerUnavailable
from segqa_dicom.ledger.batches import batches
from segqa_dicom.ledger.database import Database
from segqa_dicom.ledger.document_rows import document_of, document_values
from segqa_dicom.ledger.review_rows import (
    DraftKey,
    DraftMark,
    DraftRow,
    DraftState,
    PendingReview,
    ReadingKey,
    SignedRow,
    Signing,
)
from segqa_dicom.ledger.rows import OutboxDocument
from segqa_dicom.ledger.tables import drafts, imported_ratings, review_outbox, signed_reviews

_MARK_COLUMNS = [column for column in drafts.c if column.name != "content"]
_SIGNED_COLUMNS = [column for column in signed_reviews.c if column.name != "content"]


class Reviews(Database):
    """The part of the ledger that knows what readers said."""

    # Drafts

    def draft(self, key: DraftKey) -> DraftRow | None:
        """What a reader has typed about a segment, if anything."""
        with self._reading() as connection:
            return _draft(connection, key)

    def drafts(
        self,
        login: str,
        *,
        segmentation: str | None = None,
        states: Collection[DraftState] = tuple(DraftState),
    ) -> list[DraftRow]:
        """Drafts of a reader by segmentation and segment."""
        with self._reading() as connection:
            rows = connection.execute(_drafts_of(login, segmentation, states, list(drafts.c))).mappings()
            return [DraftRow(_mark(row), row["content"]) for row in rows]

    def draft_marks(
        self, login: str, *, segmentation: str | None = None, is_unsettled: bool = False
    ) -> list[DraftMark]:
        """How far a reader is with each segment that was begun.

        is_unsettled : without those that are signed in a document that is known: what it says is all there is to know
        """
        query = _drafts_of(login, segmentation, tuple(DraftState), _MARK_COLUMNS)
        if is_unsettled:
            known = select(signed_reviews.c.document).where(signed_reviews.c.login == login)
            query = query.where((drafts.c.state != DraftState.SIGNED) | drafts.c.document.not_in(known))
        with self._reading() as connection:
            return [_mark(row) for row in connection.execute(query).mappings()]

    def save_draft(
        self,
        key: DraftKey,
        content: Mapping[str, Any],
        *,
        state: DraftState,
        version: int,
        now: float,
        document: str | None = None,
    ) -> tuple[DraftRow, bool]:
        """Save what was typed; returns the draft as it is now, and whether it says what was to be saved.

        version : of the draft that was changed; 0 = there was none. If there is another one, nothing is changed: False.
        document : that says what the reader said before; None = as it was

        Saving the same again changes nothing, whatever the version: an answer may have been lost on its way.
        """
        with self._writing() as connection:
            known = _draft(connection, key, is_locking=True)
            if known is None:
                values = {**_key_values(key), "state": state, "version": version + 1, "content": dict(content)}
                values |= {"document": document or "", "updated_at": now}
                connection.execute(self._insert(drafts).values(**values).on_conflict_do_nothing())
                # Another window may have been faster.
                known = _draft(connection, key, is_locking=True)
                return _existing(known), _says(known, content, state)
            if _says(known, content, state):
                return known, True
            if known.mark.version != version:
                return known, False
            changes: dict[str, Any] = {"state": state, "version": version + 1, "content": dict(content)}
            changes |= {"updated_at": now} | ({} if document is None else {"document": document})
            connection.execute(update(drafts).where(_is_draft(key)).values(**changes))
            return _existing(_draft(connection, key)), True

    # Signing

    def sign(self, signing: Signing, *, now: float) -> bool:
        """Put what was signed into the outbox, with all that follows from it, in one transaction.

        False, and nothing changed, if a draft has changed meanwhile, or if a document of the same reading was signed
        that the new one does not know, and thus does not replace.
        """
        review, key = signing.review, signing.review.key
        with self._writing() as connection:
            # Two processes must not replace the same document at the same time.
            self._lock_subject(connection, f"{key.login} {key.segmentation}")
            known = set(connection.execute(select(signed_reviews.c.document).where(_is_signed_of(key))).scalars())
            if review.document in known or known - signing.seen:
                return False
            if not _are_at(connection, key, signing.versions):
                return False
            connection.execute(insert(signed_reviews).values(**_signed_values(review)))
            for position, document in enumerate(signing.documents):
                values = _pending_values(document, key, position, review.signed_at)
                connection.execute(self._insert(review_outbox).values(**values).on_conflict_do_nothing())
            mine = and_(_is_reading(key), drafts.c.document != "")
            connection.execute(update(drafts).where(mine).values(document=review.document))
            signed = and_(_is_reading(key), drafts.c.segment.in_(signing.versions))
            changes = {"state": DraftState.SIGNED, "document": review.document, "updated_at": now}
            # A window that is still open must not take the signature back by saving what it had.
            connection.execute(update(drafts).where(signed).values(**changes, version=drafts.c.version + 1))
            for batch in batches(signing.imported):
                these = imported_ratings.c.rating_id.in_(batch)
                connection.execute(update(imported_ratings).where(these).values(document=review.document))
            return True

    # Documents on their way

    def pending_reviews(
        self, *, now: float | None = None, login: str | None = None, segmentation: str | None = None, limit: int = 100
    ) -> list[PendingReview]:
        """Documents of readers that the archive has not confirmed, in the order of signing.

        now : only those that are to be tried now; None = all
        """
        query = select(review_outbox).order_by(review_outbox.c.signed_at, review_outbox.c.position)
        if now is not None:
            query = query.where(review_outbox.c.not_before <= now)
        if login is not None:
            query = query.where(review_outbox.c.login == login)
        if segmentation is not None:
            query = query.where(review_outbox.c.segmentation == segmentation)
        with self._reading() as connection:
            return [_pending(row) for row in connection.execute(query.limit(limit)).mappings()]

    def review_confirmed(self, sop_instance_uid: str) -> bool:
        """Note that the archive has a document. False if that was noted before."""
        with self._writing() as connection:
            gone = delete(review_outbox).where(review_outbox.c.sop_instance_uid == sop_instance_uid)
            return connection.execute(gone).rowcount == 1

    def review_refused(self, sop_instance_uid: str, reason: str, *, not_before: float) -> None:
        """Note why the archive did not take a document, and when to try again; it stays in the outbox."""
        with self._writing() as connection:
            connection.execute(
                update(review_outbox)
                .where(review_outbox.c.sop_instance_uid == sop_instance_uid)
                .values(reason=reason, not_before=not_before)
            )

    # Reviews in documents

    def known_reviews(self, documents: Iterable[str]) -> set[str]:
        """Those of the documents that are known."""
        found: set[str] = set()
        with self._reading() as connection:
            for batch in batches(documents):
                query = select(signed_reviews.c.document).where(signed_reviews.c.document.in_(batch))
                found.update(connection.execute(query).scalars())
        return found

    def add_reviews(self, rows: Sequence[SignedRow]) -> int:
        """Remember reviews that were found in the archive; returns how many were new."""
        with self._writing() as connection:
            return self._add_new(connection, signed_reviews, map(_signed_values, rows))

    def forget_reviews(self, documents: Iterable[str]) -> int:
        """Forget reviews whose documents are in the archive no more; returns how many were known.

        Those on their way there are not forgotten.
        """
        waiting = select(review_outbox.c.sop_instance_uid)
        count = 0
        with self._writing() as connection:
            for batch in batches(documents):
                gone = and_(signed_reviews.c.document.in_(batch), signed_reviews.c.document.not_in(waiting))
                count += connection.execute(delete(signed_reviews).where(gone)).rowcount
        return count

    def current_reviews(
        self, *, login: str | None = None, segmentations: Iterable[str] | None = None
    ) -> list[SignedRow]:
        """Reviews that none has replaced, without their contents, the oldest first."""
        other = signed_reviews.alias()
        is_replaced = (
            select(other.c.document)
            .where(other.c.predecessor == signed_reviews.c.document, other.c.document != signed_reviews.c.document)
            .exists()
        )
        query = select(*_SIGNED_COLUMNS).where(~is_replaced, signed_reviews.c.login != "")
        if login is not None:
            query = query.where(signed_reviews.c.login == login)
        found: list[SignedRow] = []
        with self._reading() as connection:
            for batch in [None] if segmentations is None else batches(sorted(set(segmentations))):
                some = query if batch is None else query.where(signed_reviews.c.segmentation.in_(batch))
                found += [_signed(row) for row in connection.execute(some).mappings()]
        return sorted(found, key=lambda one: (one.signed_at, one.document))

    def documents_of_reading(self, key: ReadingKey) -> set[str]:
        """SOP Instance UIDs of all documents of a reading that are known, replaced ones, too."""
        with self._reading() as connection:
            return set(connection.execute(select(signed_reviews.c.document).where(_is_signed_of(key))).scalars())

    def review_contents(self, documents: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        """What is said in reviews, by their documents."""
        found: dict[str, Mapping[str, Any]] = {}
        columns = (signed_reviews.c.document, signed_reviews.c.content)
        with self._reading() as connection:
            for batch in batches(documents):
                rows = connection.execute(select(*columns).where(signed_reviews.c.document.in_(batch)))
                found |= {row[0]: row[1] for row in rows}
        return found

    def all_review_documents(self) -> set[str]:
        """SOP Instance UIDs of all documents that are known."""
        with self._reading() as connection:
            return set(connection.execute(select(signed_reviews.c.document)).scalars())


def _drafts_of(login: str, segmentation: str | None, states: Collection[DraftState], columns: Sequence[Any]) -> Any:
    query = select(*columns).where(drafts.c.login == login, drafts.c.state.in_(states))
    if segmentation is not None:
        query = query.where(drafts.c.segmentation == segmentation)
    return query.order_by(drafts.c.segmentation, drafts.c.purpose, drafts.c.reading, drafts.c.segment)


def _draft(connection: Connection, key: DraftKey, *, is_locking: bool = False) -> DraftRow | None:
    query = select(drafts).where(_is_draft(key))
    row = connection.execute(query.with_for_update() if is_locking else query).mappings().one_or_none()
    return None if row is None else DraftRow(_mark(row), row["content"])


def _existing(row: DraftRow | None) -> DraftRow:
    if row is None:
        raise PeerUnavailable("a draft that was being saved was deleted in the ledger; save it again")
    return row


def _says(row: DraftRow | None, content: Mapping[str, Any], state: DraftState) -> bool:
    return row is not None and row.mark.state is state and dict(row.content) == dict(content)


def _are_at(connection: Connection, key: ReadingKey, versions: Mapping[int, int]) -> bool:
    """Whether drafts still are what was signed; where there was none, there must be none."""
    query = select(drafts.c.segment, drafts.c.version).where(_is_reading(key), drafts.c.segment.in_(versions))
    there = {row[0]: row[1] for row in connection.execute(query.with_for_update())}
    return all(there.get(segment, 0) == version for segment, version in versions.items())


def _is_reading(key: ReadingKey) -> ColumnElement[bool]:
    return and_(
        drafts.c.login == key.login,
        drafts.c.segmentation == key.segmentation,
        drafts.c.purpose == key.purpose,
        drafts.c.reading == key.reading,
    )


def _is_draft(key: DraftKey) -> ColumnElement[bool]:
    return and_(_is_reading(key.reading), drafts.c.segment == key.segment)


def _is_signed_of(key: ReadingKey) -> ColumnElement[bool]:
    return and_(
        signed_reviews.c.login == key.login,
        signed_reviews.c.segmentation == key.segmentation,
        signed_reviews.c.purpose == key.purpose,
        signed_reviews.c.reading == key.reading,
    )


def _key_values(key: DraftKey) -> dict[str, Any]:
    return {
        "login": key.reading.login,
        "segmentation": key.reading.segmentation,
        "segment": key.segment,
        "purpose": key.reading.purpose,
        "reading": key.reading.reading,
    }


def _reading_key(row: RowMapping) -> ReadingKey:
    return ReadingKey(row["login"], row["segmentation"], row["purpose"], row["reading"])


def _mark(row: RowMapping) -> DraftMark:
    return DraftMark(
        DraftKey(_reading_key(row), row["segment"]),
        DraftState(row["state"]),
        row["version"],
        row["document"],
        row["updated_at"],
    )


def _signed(row: RowMapping) -> SignedRow:
    return SignedRow(
        document=row["document"],
        series=row["series"],
        study=row["study"],
        ct_series=row["ct_series"],
        predecessor=row["predecessor"],
        key=_reading_key(row),
        signed_at=row["signed_at"],
    )


def _signed_values(row: SignedRow) -> dict[str, Any]:
    return {
        "document": row.document,
        "series": row.series,
        "study": row.study,
        "ct_series": row.ct_series,
        "predecessor": row.predecessor,
        "login": row.key.login,
        "segmentation": row.key.segmentation,
        "purpose": row.key.purpose,
        "reading": row.key.reading,
        "content": dict(row.content),
        "signed_at": row.signed_at,
    }


def _pending_values(document: OutboxDocument, key: ReadingKey, position: int, signed_at: float) -> dict[str, Any]:
    return {
        **document_values(document),
        "segmentation": key.segmentation,
        "login": key.login,
        "position": position,
        "signed_at": signed_at,
        "not_before": 0.0,
        "reason": "",
    }


def _pending(row: RowMapping) -> PendingReview:
    return PendingReview(document_of(row), row["segmentation"], row["login"], row["signed_at"], row["reason"])
