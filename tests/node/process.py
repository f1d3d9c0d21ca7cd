"""A node in a process of its own, as the service starts it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from segqa_dicom.inbox import Inbox
from tests.node.objects import TITLE
from tests.servers.process import Process, free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]


class NodeProcess(Process):
    """Started by `run_node` through the launcher; the port stays over restarts."""

    def __init__(
        self, folder: Path, *, environment: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
    ) -> None:
        self.port = free_port()
        self.inbox = Inbox(folder / "inbox")
        super().__init__(
            [*prefix, sys.executable, "-m", "tests.node.launcher", TITLE, str(self.port), self.inbox.folder],
            folder / "node.log",
            environment={"SEGQA_MIN_FREE_BYTES": "0", **(environment or {})},
            cwd=ROOT,
        )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, and do not wait."""
        os.kill(self.pid, number)

    def start(self) -> None:
        before = self.output().count("listens")
        super().start()
        wait_until(lambda: self.output().count("listens") > before or not self.is_running, what="the node listens")
        assert self.is_running, self.output()
