"""Starts a node as a process, and, if a test asks for that, dies at a certain point of taking an object.

Usage: python -m tests.node.launcher AE_TITLE PORT INBOX
SEGQA_TEST_DIE : POINT:N = SIGKILL this process at that point of the N-th object; POINT is written, synchronised,
    renamed or unanswered
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from itertools import count
from pathlib import Path
from typing import Any

from segqa_dicom.inbox import Inbox
from segqa_dicom.node import run_node


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(point: str, number: int) -> None:
    """Wrap `Inbox.accept`, and for the points inside of it what it calls."""
    accept, numbers = Inbox.accept, count(1)

    def accept_and_die(self: Inbox, part: Path) -> Path:
        if next(numbers) < number:
            return accept(self, part)
        if point == "written":
            die()
        elif point == "synchronised":
            _before(Path, "rename")
        elif point == "renamed":
            _before(Inbox, "_synchronise")
        target = accept(self, part)
        die()
        return target

    Inbox.accept = accept_and_die  # type: ignore[method-assign]


def _before(owner: type, name: str) -> None:
    def dead(*_: Any) -> None:
        die()

    setattr(owner, name, dead)


def main(arguments: list[str]) -> None:
    title, port, folder = arguments
    if wish := os.environ.get("SEGQA_TEST_DIE"):
        point, _, number = wish.partition(":")
        die_at(point, int(number))
    logging.basicConfig(level=logging.INFO)
    run_node(
        ae_title=title,
        host="127.0.0.1",
        port=int(port),
        inbox_folder=Path(folder),
        on_ready=lambda at: print(f"listens on {at}", flush=True),
        grace_s=5,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
