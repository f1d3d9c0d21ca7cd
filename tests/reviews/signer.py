"""A process that signs what a reader has finished, and stops at a point: ``python -m tests.reviews.signer``.

It works in the office that lies in FOLDER; the file ``reached`` there says that it has come to POINT.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segqa_dicom.archive import Archive, Outgoing, Stored
from segqa_dicom.ledger import Ledger, Signing
from tests.reviews.office import ANNA, Office

POINTS = ("before signing", "before storing", "before confirming")


class Held:
    """Stops for ever at a point."""

    def __init__(self, folder: Path, point: str) -> None:
        self._folder, self._point = folder, point

    def at(self, point: str) -> None:
        if point == self._point:
            (self._folder / "reached").touch()
            while True:
                time.sleep(1)


class HeldArchive:
    """An archive with the points around storing."""

    def __init__(self, archive: Archive, held: Held) -> None:
        self._archive, self._held = archive, held

    def store(self, objects: Sequence[Outgoing]) -> list[Stored]:
        self._held.at("before storing")
        stored = self._archive.store(objects)
        self._held.at("before confirming")
        return stored

    def __getattr__(self, name: str) -> Any:
        return getattr(self._archive, name)


class HeldLedger(Ledger):
    """A ledger with the point before signing."""

    held: Held

    def sign(self, signing: Signing, *, now: float) -> bool:
        self.held.at("before signing")
        return super().sign(signing, now=now)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--ledger", required=True)
    parser.add_argument("--point", choices=POINTS, required=True)
    parser.add_argument("segmentations", nargs="+")
    given = parser.parse_args()
    office = Office(None, given.folder, ledger_url=given.ledger)
    held = Held(given.folder, given.point)
    ledger = HeldLedger(given.ledger)
    ledger.held = held
    office.ledger = ledger
    office.clock.pass_s(50)
    archive: Any = HeldArchive(office.archive, held)
    office.workflow(archive=archive).sign(ANNA, given.segmentations)


if __name__ == "__main__":
    main()
