"""What a worker does with a case: claim, fetch, review, outbox, archive."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from segqa_dicom import log, sr
from segqa_dicom.archive import Archive, Instance, Outcome, Outgoing
from segqa_dicom.archive.content import content_digest
from segqa_dicom.checks import rule_titles
from segqa_dicom.errors import InputError, PeerError
from segqa_dicom.ledger import CaseState, Claim, Ledger, OutboxDocument, SegmentationState, Touch
from segqa_dicom.local.batch import reviewed_case
from segqa_dicom.model import Case, ContentConflict
from segqa_dicom.progress import Progress
from segqa_dicom.reading.case import read_case
from segqa_dicom.reading.grouping import CaseFiles, group
from segqa_dicom.reading.scan import NotReviewed, scan
from segqa_dicom.service.lease import Lease, LeaseLost
from segqa_dicom.service.setup import Setup
from segqa_dicom.sr.codes import TITLES

PEER_PAUSE_S = 10.0
"""So long a case rests whose archive does not answer."""
OLDER_PAUSE_S = 2.0
"""So long a case rests while an older revision of it is under way."""
OTHER_RULES_PAUSE_S = 15.0
"""So long a case rests that is to be reviewed by other rules than this worker has."""
LEFT_S = 60.0
"""So long this worker then leaves it to others, who would else have to be faster than it to get the case at all."""


class NothingToReview(InputError):
    """No segmentation of the case can be reviewed."""


class Worker:
    """Works on cases, one at a time.

    clock : seconds since 1970
    """

    def __init__(
        self,
        setup: Setup,
        *,
        archive: Archive | None = None,
        ledger: Ledger | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._setup, self._settings, self._clock = setup, setup.settings, clock
        self._archive = archive or setup.open_archive()
        self._ledger = ledger or setup.open_ledger()
        self._ruleset, self._limits = setup.ruleset(), setup.review.limits()
        self._title = TITLES[setup.review.report_title]
        self._claim: Claim | None = None
        self._left: dict[str, float] = {}
        self._owner = f"{socket.gethostname()}:{os.getpid()}"

    def run_next(self) -> bool:
        """Work on the oldest case that is there to be taken; False if there is none."""
        settings, now = self._settings, self._clock()
        self._left = {case_id: left_at for case_id, left_at in self._left.items() if abs(now - left_at) < LEFT_S}
        claim = self._ledger.claim_next(
            self._owner, now=now, lease_s=settings.lease_s, max_attempts=settings.max_attempts, but=self._left
        )
        if claim is None:
            return False
        self.work_on(claim)
        return True

    def run_case(self, case_id: str) -> bool:
        """Work on a case if it is there to be taken; False if it is not: done, somebody else's, or unknown."""
        settings = self._settings
        claim = self._ledger.claim(
            case_id, self._owner, now=self._clock(), lease_s=settings.lease_s, max_attempts=settings.max_attempts
        )
        if claim is None:
            return False
        self.work_on(claim)
        return True

    def work_on(self, claim: Claim) -> None:
        """Do all that is left to do for a claimed case. Whatever goes wrong is noted in the ledger, not raised."""
        started = time.perf_counter()
        settings = self._settings
        lease = Lease(
            self._ledger,
            claim,
            lease_s=settings.lease_s,
            time_limit_s=settings.case_time_limit_s,
            clock=self._clock,
        )
        self._claim = claim
        with lease:
            ended = self._ended(claim, lease)
        self._claim = None
        log.event(
            "case",
            case=claim.case_id,
            revision=claim.case.revision,
            attempt=claim.case.attempt,
            segmentations=len(claim.case.segmentations),
            ended=ended,
            seconds=round(time.perf_counter() - started, 2),
        )

    def hand_back_now(self) -> None:
        """Give back the case in work, if there is one, because this process is about to end; from another thread.

        Whatever is made of the case from now on is refused.
        """
        if (claim := self._claim) is not None:
            self._hand_back(claim, "its worker was told to end", 0.0)

    def _ended(self, claim: Claim, lease: Lease) -> str:
        """Work on it, and say how that ended."""
        try:
            if not claim.to_deliver:
                if claim.case.ruleset_hash != self._ruleset.hash:
                    return self._leave_to_others(claim)
                if self._is_older_under_way(claim):
                    return self._hand_back(claim, "an older revision is under way", OLDER_PAUSE_S)
                documents = self._documents(claim, lease.check)
                lease.check()
                held = self._ledger.produced(
                    claim.case_id, claim.token, documents, now=self._clock(), lease_s=self._settings.lease_s
                )
                if not held:
                    raise LeaseLost
            return self._deliver(claim)
        except LeaseLost:
            return "taken over"
        except PeerError as error:
            return self._hand_back(claim, str(error), PEER_PAUSE_S)
        except InputError as error:
            return self._fail(claim, str(error), final=True)
        except MemoryError:
            limit = self._settings.case_memory_bytes
            return self._fail(claim, f"memory: it needs more than {limit} bytes (SEGQA_CASE_MEMORY_BYTES)", final=False)
        except Exception as error:  # noqa: BLE001 - a mistake of ours costs this case, and is named as one
            log.LOGGER.exception("case %s", claim.case_id)
            return self._fail(claim, f"internal error of segqa, please report it ({type(error).__name__})", final=False)

    def _is_older_under_way(self, claim: Claim) -> bool:
        """Whether documents that this revision is to replace may still be on their way."""
        series, revision = claim.case.ct_series_instance_uid, claim.case.revision
        return any(
            case.revision < revision and case.state in (CaseState.RUNNING, CaseState.STORING, CaseState.STORED)
            for case in self._ledger.cases(subject=series)
        )

    # From files to documents

    def _documents(self, claim: Claim, progress: Progress) -> list[OutboxDocument]:
        with TemporaryDirectory(dir=self._setup.work_folder, prefix=f"case-{claim.case_id}-") as folder:
            progress("fetching", 0, 1)
            files = self._files(claim, Path(folder))
            case, left_out = read_case(files, self._limits, progress)
            if case is None:
                self._note_left_out(left_out)
                raise NothingToReview(_reasons(left_out))
            case = replace(case, conflicts=self._conflicts(claim))
            earlier = self._earlier(claim, Path(folder))
            found = self._known_documents(claim, case, earlier)
            if not found:
                found, more = self._new_documents(claim, case, [known for known, _ in earlier], progress)
                left_out = [*left_out, *more]
            self._note_left_out(left_out)
            return found

    def _files(self, claim: Claim, folder: Path) -> CaseFiles:
        row = claim.case
        images = self._archive.list_instances(row.ct_study_instance_uid, row.ct_series_instance_uid)
        segmentations = self._archive.find_instances(row.segmentations)
        files = self._archive.fetch([*images, *segmentations], folder)
        headers, unusable = scan(sorted(set(files.values())), self._limits)
        cases, ungrouped = group(headers, self._limits)
        uids = {path: uid for uid, path in files.items()}
        unreadable = [replace(one, sop_instance_uid=uids[one.path]) for one in unusable if not one.sop_instance_uid]
        left_out = [*unreadable, *(one for one in ungrouped if one.is_segmentation)]
        self._note_left_out(left_out)
        for case in cases:
            if case.name == row.ct_series_instance_uid:
                return case
        raise NothingToReview(_reasons(left_out) or "its objects are not in the archive any more")

    def _conflicts(self, claim: Claim) -> tuple[ContentConflict, ...]:
        uids = [claim.case.ct_series_instance_uid, *claim.case.segmentations]
        return tuple(
            ContentConflict(one.sop_instance_uid, one.kept_digest, one.refused_digest)
            for one in self._ledger.conflicts_in(uids)
        )

    def _earlier(self, claim: Claim, folder: Path) -> list[tuple[sr.EarlierDocument, Path]]:
        """Our documents in the study of the CT, with their files."""
        study = claim.case.ct_study_instance_uid
        instances = [
            one
            for series in self._archive.list_series(study_instance_uid=study, modality="SR")
            for one in self._archive.list_instances(study, series.series_instance_uid)
        ]
        earlier = []
        for path in self._archive.fetch(instances, folder / "earlier").values() if instances else ():
            try:
                known = sr.read_earlier(path)
            except InputError:
                continue  # a document of somebody else that cannot be read is none of ours
            if known is not None:
                earlier.append((known, path))
        return earlier

    def _known_documents(
        self, claim: Claim, case: Case, earlier: Sequence[tuple[sr.EarlierDocument, Path]]
    ) -> list[OutboxDocument]:
        """What is in the archive of this very case: stored again, which only makes sure that it is there."""
        segmentations = [one.record.sop_instance_uid for one in case.segmentations]
        paths = {known.itself.sop_instance_uid: path for known, path in earlier}
        known = sr.documents_of(segmentations, (one for one, _ in earlier), self._key(case), title=self._title)
        return [
            _outbox_document(
                claim,
                one.kind,
                one.itself.sop_instance_uid,
                one.itself.series_instance_uid,
                paths[one.itself.sop_instance_uid].read_bytes(),
            )
            for one in known
        ]

    def _new_documents(
        self, claim: Claim, case: Case, earlier: Sequence[sr.EarlierDocument], progress: Progress
    ) -> tuple[list[OutboxDocument], list[NotReviewed]]:
        case, report, left_out = reviewed_case(case, self._ruleset, progress)
        progress("writing documents", 0, 1)
        documents = sr.build_documents(
            report,
            rule_titles=rule_titles(),
            title=self._title,
            predecessors=sr.predecessors(earlier, self._key(case), title=self._title),
        )
        # Reports last: where they are, the others are, too (`sr.documents_of`).
        documents.sort(key=lambda document: document.kind is sr.Kind.REPORT)
        return [
            _outbox_document(claim, one.kind, one.sop_instance_uid, one.series_instance_uid, one.file)
            for one in documents
        ], left_out

    def _key(self, case: Case) -> str:
        records = [segmentation.record for segmentation in case.segmentations]
        return sr.case_key(case.ct.record, records, self._ruleset.hash, case.conflicts)

    def _note_left_out(self, left_out: Sequence[NotReviewed]) -> None:
        """Objects that nothing can be said about: they stay in the archive, and are listed with those in quarantine."""
        for one in left_out:
            uid = one.sop_instance_uid
            if uid is None:
                continue
            if one.is_segmentation:
                self._ledger.mark_segmentation(uid, SegmentationState.REFUSED, one.reason)
            self._ledger.refuse(
                sop_instance_uid=uid, name="NotReviewed", reason=one.reason, path="in the archive", now=self._clock()
            )

    # From the outbox to the archive

    def _deliver(self, claim: Claim) -> str:
        pending = self._ledger.pending_documents(claim.case_id)
        outgoing = [
            Outgoing(
                Instance(one.study_instance_uid, one.series_instance_uid, one.sop_instance_uid, one.sop_class_uid),
                one.content,
            )
            for one in pending
        ]
        for outcome in self._archive.store(outgoing) if outgoing else ():
            if outcome.outcome in (Outcome.CONFLICT, Outcome.REFUSED):
                what = outcome.reason or "another content with its SOP Instance UID is there"
                return self._fail(claim, f"the archive refused {outcome.sop_instance_uid}: {what}", final=True)
            if not self._ledger.document_stored(claim.case_id, claim.token, outcome.sop_instance_uid):
                raise LeaseLost
        if not self._ledger.delivered(claim.case_id, claim.token, now=self._clock()):
            raise LeaseLost
        return "delivered"

    # Other ends

    def _leave_to_others(self, claim: Claim) -> str:
        """The rules have changed since the case was opened: it is opened again under those of the scheduler."""
        series = claim.case.ct_series_instance_uid
        self._ledger.touch_many([Touch(series, None, arrived_at=self._clock(), check_at=self._clock())])
        self._left[claim.case_id] = self._clock()
        reason = f"it is to be reviewed by the rules {claim.case.ruleset_hash[:12]}, which this worker does not have"
        return self._hand_back(claim, reason, OTHER_RULES_PAUSE_S)

    def _hand_back(self, claim: Claim, reason: str, pause_s: float) -> str:
        now = self._clock()
        self._ledger.hand_back(
            claim.case_id, claim.token, now=now, not_before=now + pause_s, reason=reason, count_attempt=False
        )
        return "handed back"

    def _fail(self, claim: Claim, reason: str, *, final: bool) -> str:
        self._ledger.fail(
            claim.case_id,
            claim.token,
            now=self._clock(),
            reason=reason,
            max_attempts=self._settings.max_attempts,
            final=final,
        )
        return "failed"


def _outbox_document(claim: Claim, kind: sr.Kind, uid: str, series: str, content: bytes) -> OutboxDocument:
    return OutboxDocument(
        sop_instance_uid=uid,
        series_instance_uid=series,
        study_instance_uid=claim.case.ct_study_instance_uid,
        sop_class_uid=sr.SOP_CLASS_UID,
        kind=kind.value,
        content=content,
        digest=content_digest(content),
    )


def _reasons(left_out: Sequence[NotReviewed]) -> str:
    """Why nothing was left: of each segmentation."""
    return "; ".join(
        f"{one.sop_instance_uid or one.path.name}: {one.reason}" for one in left_out if one.is_segmentation
    )
