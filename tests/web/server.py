"""The application over an archive folder in a process of its own; a program.

    python -m tests.web.server ARCHIVE PORT_FILE [MAX_FILE_BYTES]

Writes its port into a file as soon as it listens. Its ledger is made up. Settings of the service come from the
environment.
"""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.config import ServiceSettings, Settings
from segqa_dicom.errors import PeerUnavailable
from segqa_dicom.inbox import Inbox
from segqa_dicom.web import create_app, run_web


@dataclass(frozen=True)
class Summary:
    cases: dict[str, int] = field(default_factory=lambda: {"ready": 2, "confirmed": 3})
    oldest_runnable_s: float | None = 12.5
    outbox: int = 1
    quarantined_objects: int = 4
    conflicts: int = 5
    attempts: int = 6


@dataclass(frozen=True)
class Ledger:
    """A ledger with a fixed content; without one it does not answer."""

    content: Summary | None = field(default_factory=Summary)

    def summary(self, now: float) -> Summary:
        assert now > 0
        if self.content is None:
            raise PeerUnavailable("the database is away")
        return self.content


def main() -> None:
    folder, port_file = Path(sys.argv[1]), Path(sys.argv[2])
    settings = Settings(max_file_bytes=int(sys.argv[3])) if len(sys.argv) > 3 else Settings()
    inbox = Inbox(folder / "inbox")

    def ready(port: int) -> None:
        part = port_file.with_suffix(".part")
        part.write_text(str(port))
        part.rename(port_file)

    with closing(FolderArchive(folder)) as archive:
        service = ServiceSettings(min_free_bytes=0)
        app = create_app(archive=archive, ledger=Ledger(), inbox=inbox, settings=settings, service=service)
        run_web(app, host="127.0.0.1", port=0, ready=ready)


if __name__ == "__main__":
    main()
