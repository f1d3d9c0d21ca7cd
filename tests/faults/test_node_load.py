"""Many senders at a time, and a node that is killed again and again: nothing that was acknowledged is lost."""

from __future__ import annotations

import os
import random
import re
import subprocess
import threading
from pathlib import Path

import pytest
from pydicom import dcmread

from segqa_dicom.inbox import Inbox
from tests.node.objects import TITLE, uid, write_ct
from tests.node.process import NodeProcess
from tests.servers.process import program, wait_until

ASSOCIATIONS = 8
GROUP = 100
_SENDING = re.compile(r"Sending file: (\S+)")


class Senders:
    """Threads that send files by storescu until each is acknowledged, going on behind the last acknowledged one."""

    def __init__(self, port: int, files: list[Path]) -> None:
        self._port, self._groups = port, [files[start : start + GROUP] for start in range(0, len(files), GROUP)]
        self._lock, self._pause = threading.Lock(), threading.Event()
        self.acknowledged: set[str] = set()
        self.broken = 0
        self.threads = [threading.Thread(target=self._run) for _ in range(ASSOCIATIONS)]

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._groups:
                    return
                left = self._groups.pop()
            while left:
                count = self._send(left)
                left = left[count:]
                if not count:
                    self._pause.wait(0.3)  # the node is down: not as many attempts as the machine can make

    def _send(self, files: list[Path]) -> int:
        """How many of the files, which are sent in this order, were acknowledged."""
        done = subprocess.run(
            [program("storescu"), "-v", "-aec", TITLE, "127.0.0.1", str(self._port), *files],
            capture_output=True, text=True, check=False, timeout=120, env=os.environ | {"TCP_NODELAY": "1"},
        )  # fmt: skip
        count = done.stderr.count("Received Store Response (Success)")
        assert _SENDING.findall(done.stderr)[:count] == [str(path) for path in files[:count]]
        with self._lock:
            self.acknowledged |= {uid(int(path.stem)) for path in files[:count]}
            self.broken += done.returncode != 0
        return count


class Whole:
    """SOP Instance UIDs of the files of an inbox, each read to its end once."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._known: dict[Path, str] = {}

    def uids(self) -> list[str]:
        for path in self._inbox.waiting():
            if path not in self._known:
                dataset = dcmread(path)
                assert len(dataset.PixelData) == 2 * dataset.Rows * dataset.Columns, path
                self._known[path] = str(dataset.SOPInstanceUID)
        return list(self._known.values())


@pytest.mark.parametrize(
    ("instances", "kills"),
    [(1600, 3), pytest.param(20_000, 20, marks=[pytest.mark.long, pytest.mark.timeout(3600)])],
)
def test_nothing_acknowledged_is_lost_however_often_the_node_is_killed(
    tmp_path: Path, instances: int, kills: int
) -> None:
    files = write_ct(tmp_path / "ct", instances)
    luck = random.Random(1)
    with NodeProcess(tmp_path) as node:
        whole = Whole(node.inbox)
        senders = Senders(node.port, files)
        for thread in senders.threads:
            thread.start()
        for kill in range(1, kills + 1):
            enough = (kill - luck.random()) * instances / (kills + 1)
            wait_until(lambda enough=enough: len(senders.acknowledged) >= enough, 600, "instances were acknowledged")  # type: ignore[misc]
            node.kill()
            acknowledged = set(senders.acknowledged)
            assert acknowledged - set(whole.uids()) == set()
            node.start()
        for thread in senders.threads:
            thread.join()
        there = whole.uids()
        assert node.stop() == 0
    assert senders.acknowledged == {uid(number) for number in range(instances)}
    assert senders.acknowledged == set(there)
    assert senders.broken >= kills
    assert len(there) - len(senders.acknowledged) <= kills * ASSOCIATIONS  # stored, but killed before the answer
    assert list(node.inbox.parts.iterdir()) == []
