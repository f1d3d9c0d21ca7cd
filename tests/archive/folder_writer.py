"""Stores many objects in a folder archive, and says which are in it; a program, so that tests can kill it.

    python -m tests.archive.folder_writer ARCHIVE FIRST COUNT BATCH

Prints each SOP Instance UID when `store` has returned for it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from segqa_dicom.archive.folder import FolderArchive
from tests.archive.objects import ct, outgoing


def main() -> None:
    folder, first, count, batch = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    archive = FolderArchive(folder)
    print("ready", flush=True)
    sys.stdin.readline()
    for start in range(first, first + count, batch):
        numbers = range(start, min(start + batch, first + count))
        for stored in archive.store([outgoing(ct(number, size=64)) for number in numbers]):
            print(stored.sop_instance_uid, stored.outcome, flush=True)


if __name__ == "__main__":
    main()
