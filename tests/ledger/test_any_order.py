"""Whatever is called in whatever order, at whatever time: no case has two holders, and no document is lost."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from segqa_dicom.digests import digest
from segqa_dicom.errors import ConfigurationError
from segqa_dicom.ledger import CaseState, Claim, Ledger
from segqa_dicom.ledger.rows import DELIVERING, FINISHED
from tests.ledger.consistency import check_consistent
from tests.ledger.factories import ATTEMPTS, LEASE_S, NOW, document, new_case
from tests.tiers import examples

STEPS_S = st.sampled_from([0.0, 1.0, 30.0, 46.0, 100.0, 86_400.0, -10.0, -100.0, -3600.0])
CASE_KEYS = st.tuples(
    st.sampled_from(["1.1", "2.1"]), st.sampled_from(["1.9.1", "1.9.2", "1.9.3"]), st.sampled_from(["rules", "others"])
)


class AnyOrder(RuleBasedStateMachine):
    """A ledger, and what this test believes: who holds each case, until when, and what is in its outbox."""

    ids = Bundle("ids")
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="segqa-ledger-")
        self.ledger = Ledger(f"sqlite:///{Path(self.folder.name) / 'ledger.sqlite'}")
        self.ledger.migrate()
        self.now = NOW
        self.holder: dict[str, tuple[int, float]] = {}
        self.tokens: dict[str, int] = {}
        self.unsent: dict[str, set[str]] = {}
        self.n_documents = 0

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()

    # What the world does.

    @rule(step_s=STEPS_S)
    def time_passes(self, step_s: float) -> None:
        self.now += step_s

    @initialize(target=ids, key=CASE_KEYS)
    def something_is_there(self, key: tuple[str, str, str]) -> object:
        return self.open(key)

    @rule(target=ids, key=CASE_KEYS)
    def open(self, key: tuple[str, str, str]) -> object:
        new = new_case(key[0], (key[1],), key=digest(key), ruleset_hash=key[2])
        opened = self.ledger.open_revision(new, now=self.now)
        if opened is None:
            return multiple()
        assert opened.state is CaseState.READY
        assert opened.case_id not in self.holder
        self.unsent.pop(opened.case_id, None)
        return opened.case_id

    @rule(case_id=ids)
    def replay(self, case_id: str) -> None:
        try:
            replayed = self.ledger.replay(case_id, now=self.now)
        except ConfigurationError:
            return
        assert replayed.state is CaseState.READY
        assert case_id not in self.holder
        self.unsent.pop(case_id, None)

    @rule()
    def requeue(self) -> None:
        self.ledger.requeue_expired(self.now)
        for case_id in list(self.holder):
            if self.ledger.case(case_id).lease_until is None:
                self.must_be_over(case_id)
                del self.holder[case_id]

    # What workers do.

    @rule(target=claims, case_id=ids)
    def claim(self, case_id: str) -> object:
        return self.taken(self.ledger.claim(case_id, "a", now=self.now, lease_s=LEASE_S, max_attempts=ATTEMPTS))

    @rule(target=claims)
    def claim_next(self) -> object:
        return self.taken(self.ledger.claim_next("b", now=self.now, lease_s=LEASE_S, max_attempts=ATTEMPTS))

    @rule(claim=claims)
    def renew(self, claim: Claim) -> None:
        done = self.ledger.renew(claim.case_id, claim.token, now=self.now, lease_s=LEASE_S)
        assert done == self.holds(claim)
        if done:
            self.holder[claim.case_id] = (claim.token, self.now + LEASE_S)

    @rule(claim=claims, n_documents=st.integers(0, 2))
    def produce(self, claim: Claim, n_documents: int) -> None:
        was_running = self.ledger.case(claim.case_id).state is CaseState.RUNNING
        is_late = any(
            case.revision > self.ledger.case(claim.case_id).revision and case.state in (*DELIVERING, *FINISHED)
            for case in self.ledger.cases(subject=claim.case.ct_series_instance_uid)
        )
        names = [f"1.7.{self.n_documents + number}" for number in range(n_documents)]
        self.n_documents += n_documents
        documents = [document(name, b"x") for name in names]
        done = self.ledger.produced(claim.case_id, claim.token, documents, now=self.now, lease_s=LEASE_S)
        assert done == (self.holds(claim) and was_running and not is_late)
        if self.holds(claim) and was_running and is_late:
            del self.holder[claim.case_id]
        if done:
            self.unsent[claim.case_id] = set(names)
            self.holder[claim.case_id] = (claim.token, self.now + LEASE_S)

    @rule(claim=claims)
    def store_one(self, claim: Claim) -> None:
        name = min(self.unsent.get(claim.case_id, set()), default="1.7.999999")
        if self.ledger.document_stored(claim.case_id, claim.token, name):
            assert self.holds(claim)
            self.unsent[claim.case_id].discard(name)

    @rule(claim=claims)
    def deliver(self, claim: Claim) -> None:
        if self.ledger.delivered(claim.case_id, claim.token, now=self.now):
            assert self.holds(claim)
            assert self.unsent.pop(claim.case_id) == set()
            del self.holder[claim.case_id]

    @rule(claim=claims, wait_s=st.sampled_from([0.0, 60.0]), count_attempt=st.booleans())
    def hand_back(self, claim: Claim, wait_s: float, count_attempt: bool) -> None:
        done = self.ledger.hand_back(
            claim.case_id,
            claim.token,
            now=self.now,
            not_before=self.now + wait_s,
            reason="x",
            count_attempt=count_attempt,
        )
        self.ended(claim, done)

    @rule(claim=claims, final=st.booleans())
    def fail(self, claim: Claim, final: bool) -> None:
        done = self.ledger.fail(
            claim.case_id, claim.token, now=self.now, reason="x", max_attempts=ATTEMPTS, final=final
        )
        self.ended(claim, done)

    # What must be true.

    @invariant()
    def is_consistent(self) -> None:
        check_consistent(self.ledger)
        for case in self.ledger.cases():
            names = {one.sop_instance_uid for one in self.ledger.pending_documents(case.case_id)}
            if case.state is not CaseState.SUPERSEDED:
                assert names == self.unsent.get(case.case_id, set()), case
            assert (case.case_id in self.holder) == (case.lease_until is not None), case
            assert case.attempt <= ATTEMPTS

    def taken(self, claim: Claim | None) -> object:
        # Looking for something to claim may end the lease of others that are over.
        for case_id in list(self.holder):
            case = self.ledger.case(case_id)
            if case.lease_until is None or (claim is not None and claim.case_id == case_id):
                self.must_be_over(case_id)
                del self.holder[case_id]
        if claim is None:
            return multiple()
        assert claim.token > self.tokens.get(claim.case_id, 0)
        assert claim.to_deliver == (claim.case.state in DELIVERING)
        self.tokens[claim.case_id] = claim.token
        self.holder[claim.case_id] = (claim.token, self.now + LEASE_S)
        return claim

    def must_be_over(self, case_id: str) -> None:
        until = self.holder[case_id][1]
        assert until < self.now or until > self.now + 2 * LEASE_S

    def holds(self, claim: Claim) -> bool:
        return self.holder.get(claim.case_id, (0, 0.0))[0] == claim.token

    def ended(self, claim: Claim, done: bool) -> None:
        assert done == self.holds(claim)
        if done:
            del self.holder[claim.case_id]


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(examples(12), stateful_step_count=40, suppress_health_check=list(HealthCheck))
TestAnyOrder.pytestmark = [pytest.mark.slow]
