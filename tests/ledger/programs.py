"""Processes that use a ledger together: ``python -m tests.ledger.programs PROGRAM URL N``.

The first process uses the ledger, then forks N children, who begin all at once; so they also show that connections are
not shared across a fork. Each prints lines of what the ledger has confirmed to it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from segqa_dicom.errors import PeerUnavailable
from segqa_dicom.ledger import Ledger
from tests.ledger.factories import ATTEMPTS, LEASE_S, document, new_case, segmentation


def claim(ledger: Ledger, _number: int) -> None:
    """Claim until nothing is left."""
    while one := ledger.claim_next(str(os.getpid()), now=time.time(), lease_s=LEASE_S, max_attempts=ATTEMPTS):
        say(f"claimed {one.case_id} {one.token} {os.getpid()}")


def claim_one(ledger: Ledger, _number: int) -> None:
    """Claim all cases by their ids, as if each had got all messages."""
    for case in sorted(ledger.cases(), key=lambda case: case.case_id):
        if one := ledger.claim(case.case_id, "x", now=time.time(), lease_s=LEASE_S, max_attempts=ATTEMPTS):
            say(f"claimed {one.case_id} {one.token} {os.getpid()}")


def open_all(ledger: Ledger, number: int) -> None:
    """Open the same cases as all others do: revisions of the same two subjects."""
    for step in range(10):
        name = f"1.9.{(step + number) % 10}"
        for subject in ("1.1", "2.1"):
            if opened := ledger.open_revision(new_case(subject, (name,)), now=time.time()):
                say(f"opened {opened.case_id} {opened.revision}")


def touch(ledger: Ledger, number: int) -> None:
    """Touch the same subjects as all others do, in another order."""
    for step in range(40):
        ledger.touch(f"{(step * (number + 1)) % 7}.1", "1.0", arrived_at=1000.0 + step, check_at=1005.0 + step)
        say("touched")


def migrate(ledger: Ledger, _number: int) -> None:
    ledger.migrate()
    say(f"migrated {len(ledger.cases())}")


def write(ledger: Ledger, _number: int) -> None:
    """Bring cases from opening to the end, for ever."""
    step = 0
    while True:
        step, subject = step + 1, f"{os.getpid()}.{step}"
        ledger.touch(subject, None, arrived_at=time.time(), check_at=time.time())
        ledger.add_segmentation(segmentation(f"{subject}.9", subject))
        case = ledger.open_revision(new_case(subject, (f"{subject}.9",)), now=time.time())
        assert case is not None
        say(f"opened {case.case_id}")
        one = ledger.claim(case.case_id, "writer", now=time.time(), lease_s=LEASE_S, max_attempts=ATTEMPTS)
        assert one is not None
        documents = [document(f"{subject}.7.{number}", os.urandom(20_000)) for number in range(3)]
        assert ledger.produced(case.case_id, one.token, documents, now=time.time(), lease_s=LEASE_S)
        say(f"produced {case.case_id}")
        for one_document in documents:
            assert ledger.document_stored(case.case_id, one.token, one_document.sop_instance_uid)
        if step % 2:
            assert ledger.delivered(case.case_id, one.token, now=time.time())
            say(f"delivered {case.case_id}")


def fill(ledger: Ledger, _number: int) -> None:
    """Write until the disk is full (the test has set a limit to the size of files)."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
    for step in range(10_000):
        try:
            ledger.add_segmentation(segmentation(f"1.9.{step}", referenced_series=tuple(map(str, range(9999)))))
        except PeerUnavailable as error:
            say(f"refused {error}")
            return
        say(f"added 1.9.{step}")


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


PROGRAMS: dict[str, Callable[[Ledger, int], None]] = {
    program.__name__: program for program in (claim, claim_one, open_all, touch, migrate, write, fill)
}


def main(name: str, url: str, n_processes: int) -> int:
    ledger, program = Ledger(url), PROGRAMS[name]
    if name != "migrate":
        ledger.summary(time.time())
    if n_processes == 1:
        program(ledger, 0)
        return 0
    gate, opener = os.pipe()
    children = []
    for number in range(n_processes):
        if child := os.fork():
            children.append(child)
            continue
        code = 1
        try:
            os.close(opener)
            os.read(gate, 1)
            program(ledger, number)
            code = 0
        finally:
            # Not through the parent's exit handlers.
            sys.stderr.flush()
            os._exit(code)
    os.close(opener)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    # The parent's own connection is still good.
    ledger.summary(time.time())
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
