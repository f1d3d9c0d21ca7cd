"""The node as a process: it ends in order, and starts again on the same inbox."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from segqa_dicom.node.contexts import Status
from tests.node import wire
from tests.node.objects import CT_CLASS, ct, received, run, send, uid, write_ct, written
from tests.node.process import NodeProcess
from tests.servers.process import wait_until

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_0_when_asked_and_starts_again(tmp_path: Path, number: signal.Signals) -> None:
    files = write_ct(tmp_path / "ct", 3)
    with NodeProcess(tmp_path) as node:
        assert send(node.port, files[:2]).returncode == 0
        assert node.stop(number) == 0
        assert run("echoscu", node.port).returncode != 0
        node.start()
        assert send(node.port, files[2:]).returncode == 0
        assert received(node.inbox) == [uid(0), uid(1), uid(2)]


def test_a_c_store_under_way_is_finished_and_answered_before_the_end(tmp_path: Path) -> None:
    content = written(tmp_path / "plain.dcm", ct()).read_bytes()
    content = content[144 + int.from_bytes(content[140:144], "little") :]
    with NodeProcess(tmp_path) as node, wire.connect(node.port) as busy, wire.connect(node.port) as idle:
        for one in (busy, idle):
            one.sendall(wire.associate())
            assert wire.answer(one)[0] == wire.ACCEPT
        busy.sendall(wire.data((1, 3, wire.store_command(CT_CLASS, uid(0))), (1, 0, content[:300])))
        wait_until(lambda: list(node.inbox.parts.iterdir()), what="the object is being received")
        node.signal(signal.SIGTERM)
        assert wire.answer(idle)[0] == wire.ABORT
        assert node.is_running
        busy.sendall(wire.data((1, 2, content[300:])))
        assert wire.status(wire.answer(busy)) == Status.SUCCESS
        assert wire.answer(busy)[0] == wire.ABORT
        assert node.wait(20) == 0
        assert received(node.inbox) == [uid(0)]


def test_what_does_not_finish_in_time_is_cut_off(tmp_path: Path) -> None:
    with NodeProcess(tmp_path) as node, wire.connect(node.port) as slow:
        slow.sendall(wire.associate())
        assert wire.answer(slow)[0] == wire.ACCEPT
        slow.sendall(wire.data((1, 3, wire.store_command(CT_CLASS, uid(0))), (1, 0, b"...")))
        wait_until(lambda: list(node.inbox.parts.iterdir()), what="the object is being received")
        assert node.stop() == 0
        assert (node.inbox.count(), list(node.inbox.parts.iterdir())) == (0, [])


def test_a_disk_that_takes_no_more_refuses_for_now_and_loses_nothing(tmp_path: Path) -> None:
    small, large = write_ct(tmp_path / "ct", 1)[0], written(tmp_path / "large.dcm", ct(1, rows=400))
    # The shell's limit on the size of files stands in for a full disk: writing fails in the middle.
    with NodeProcess(tmp_path, prefix=["sh", "-c", 'ulimit -f 400; exec "$@"', "sh"]) as node:
        assert send(node.port, [small]).returncode == 0
        done = send(node.port, [large])
        assert done.returncode != 0
        assert "Refused: OutOfResources" in done.stderr
        assert received(node.inbox) == [uid(0)]
        assert list(node.inbox.parts.iterdir()) == []
        assert send(node.port, [small]).returncode == 0
