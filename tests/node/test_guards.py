"""Connections that are mute, slow, greedy or too many (reliability F11, F12, F13)."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from segqa_dicom.inbox import Inbox
from segqa_dicom.node import Node
from segqa_dicom.node.budget import MAX_PDU_BYTES, Budget
from segqa_dicom.node.node import MAX_PDU_SIZE
from tests.node import wire
from tests.node.objects import CT_CLASS, node_at, received, run, send, uid, write_ct
from tests.node.process import NodeProcess
from tests.servers.process import wait_until


def resident_mb(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return float(line.split()[1]) / 1024


@contextmanager
def connections(port: int, count: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        several = [stack.enter_context(wire.connect(port)) for _ in range(count)]
        for one in several:
            one.sendall(first)
        yield several


@pytest.mark.servers
@pytest.mark.parametrize(("count", "first"), [(10, b""), (64, b""), (200, b""), (200, b"\1\0\0"), (400, b"\1\0\0")])
def test_f11_mute_connections_keep_nobody_out(tmp_path: Path, count: int, first: bytes) -> None:
    with NodeProcess(tmp_path) as node:
        assert run("echoscu", node.port).returncode == 0
        before = resident_mb(node.pid)
        with connections(node.port, count, first):
            started = time.monotonic()
            assert run("echoscu", node.port).returncode == 0
            assert time.monotonic() - started < 15
            assert resident_mb(node.pid) - before < 50
        assert run("echoscu", node.port).returncode == 0


@pytest.mark.servers
def test_f11_what_comes_byte_by_byte_is_ended_by_the_deadline(tmp_path: Path) -> None:
    stopped = threading.Event()

    def drip(connection: socket.socket) -> None:
        for byte in wire.associate():
            if stopped.wait(0.1):
                return
            try:
                connection.sendall(bytes((byte,)))
            except OSError:
                return

    with node_at(tmp_path, read_deadline_s=0.5, acse_timeout_s=1) as node, connections(node.port, 20) as several:
        threads = [threading.Thread(target=drip, args=(one,)) for one in several[:10]]
        for thread in threads:
            thread.start()
        try:
            for one in several:  # half of them slow, half of them mute
                assert wire.answer(one) == b""
        finally:
            stopped.set()
            for thread in threads:
                thread.join()
        assert run("echoscu", node.port).returncode == 0


def test_f11_half_a_pdu_on_an_association_is_ended_by_the_deadline(tmp_path: Path) -> None:
    with node_at(tmp_path, read_deadline_s=0.5) as node, wire.connect(node.port) as connection:
        connection.sendall(wire.associate())
        assert wire.answer(connection)[0] == wire.ACCEPT
        connection.sendall(b"\4\0\0\0")
        assert wire.answer(connection) == b""
        wait_until(lambda: node.association_count == 0)


def test_silent_associations_are_ended_by_the_network_timeout(tmp_path: Path) -> None:
    with node_at(tmp_path, network_timeout_s=0.5) as node, wire.connect(node.port) as connection:
        connection.sendall(wire.associate())
        assert wire.answer(connection)[0] == wire.ACCEPT
        assert wire.answer(connection)[0] == wire.ABORT
        wait_until(lambda: node.association_count == 0)


@pytest.mark.servers
@pytest.mark.parametrize("kind", [1, 4, 9])
@pytest.mark.parametrize("length", [0xFFFFFFF0, MAX_PDU_BYTES + 1])
def test_f12_a_pdu_that_is_too_long_is_refused_before_it_is_read(node: Node, kind: int, length: int) -> None:
    with wire.connect(node.port) as connection:
        connection.sendall(bytes((kind, 0)) + length.to_bytes(4, "big"))
        assert wire.answer(connection)[0] == wire.ABORT
        assert wire.answer(connection) == b""
    assert run("echoscu", node.port).returncode == 0


@pytest.mark.servers
@pytest.mark.parametrize("length", [0xFFFFFFF0, MAX_PDU_BYTES + 1])
def test_f12_the_same_on_an_association(node: Node, length: int) -> None:
    with wire.connect(node.port) as connection:
        connection.sendall(wire.associate())
        assert wire.answer(connection)[0] == wire.ACCEPT
        connection.sendall(b"\4\0" + length.to_bytes(4, "big") + bytes(100_000))
        assert wire.answer(connection)[0] == wire.ABORT
        wait_until(lambda: node.association_count == 0)
    assert run("echoscu", node.port).returncode == 0


@pytest.mark.servers
def test_f12_announcing_gigabytes_costs_no_memory(tmp_path: Path) -> None:
    with NodeProcess(tmp_path) as node:
        assert run("echoscu", node.port).returncode == 0
        before = resident_mb(node.pid)
        with wire.connect(node.port) as connection:
            connection.sendall(b"\1\0\xff\xff\xff\xf0")
            try:
                for _ in range(1000):
                    connection.sendall(bytes(1 << 16))
            except OSError:
                pass
        assert resident_mb(node.pid) - before < 20


def test_f12_128_presentation_contexts_are_legal(node: Node) -> None:
    with wire.connect(node.port) as connection:
        connection.sendall(wire.associate([CT_CLASS] * 128))
        pdu = wire.answer(connection)
        assert pdu[0] == wire.ACCEPT
        assert pdu.count(b"\x21\0") >= 128
        connection.sendall(b"\5\0\0\0\0\4\0\0\0\0")
        assert wire.answer(connection)[0] == 6


def test_a_request_in_many_pieces_is_understood(node: Node) -> None:
    with wire.connect(node.port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in wire.associate():
            connection.sendall(bytes((byte,)))
        assert wire.answer(connection)[0] == wire.ACCEPT


@pytest.mark.servers
def test_what_comes_with_the_request_before_its_answer_is_an_error_and_not_lost(node: Node) -> None:
    with wire.connect(node.port) as connection:
        connection.sendall(wire.associate() + b"\5\0\0\0\0\4\0\0\0\0")
        assert wire.answer(connection)[0] == wire.ABORT
    assert run("echoscu", node.port).returncode == 0


@pytest.mark.servers
@pytest.mark.parametrize(
    "first",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="HTTP"),
        pytest.param(b"\5\0\0\0\0\4\0\0\0\0", id="release"),
        pytest.param(wire.data((1, 3, b"")), id="data"),
        pytest.param(b"\1\0\0\0\0\5\0\1abc", id="a request that is too short"),
    ],
)
def test_what_is_no_request_is_aborted(node: Node, first: bytes) -> None:
    with wire.connect(node.port) as connection:
        connection.sendall(first)
        assert wire.answer(connection)[:1] in (bytes((wire.ABORT,)), b"")
    assert run("echoscu", node.port).returncode == 0


@pytest.mark.servers
@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(wire.data((1, 2, b"no command before")), id="a data set without a command"),
        pytest.param(wire.data((99, 3, wire.store_command(CT_CLASS, uid(0)))), id="a context nobody asked for"),
        pytest.param(wire.data((1, 3, b"rubbish, not a command")), id="no command"),
        pytest.param(wire.data((1, 3, wire.store_command(CT_CLASS, "1." * 40))), id="a UID that is too long"),
        pytest.param(wire.data((1, 3, wire.store_command(CT_CLASS, uid(0))), (3, 0, b"x")), id="another context"),
        pytest.param(wire.data((1, 3, wire.store_command(CT_CLASS, uid(0))), (1, 3, b"x")), id="two commands"),
        pytest.param(b"\4\0\0\0\0\x06\0\0\xff\xff\1\2", id="a value longer than its PDU"),
        pytest.param(wire.associate(), id="a second request"),
    ],
)
def test_what_breaks_the_rules_is_aborted_and_leaves_nothing(node: Node, inbox: Inbox, broken: bytes) -> None:
    with wire.connect(node.port) as connection:
        connection.sendall(wire.associate())
        assert wire.answer(connection)[0] == wire.ACCEPT
        connection.sendall(broken)
        assert wire.answer(connection)[0] == wire.ABORT
    wait_until(lambda: node.association_count == 0)
    assert (inbox.count(), list(inbox.parts.iterdir())) == (0, [])
    assert run("echoscu", node.port).returncode == 0


@pytest.mark.servers
def test_endless_commands_are_aborted(node: Node) -> None:
    with wire.connect(node.port) as connection:
        connection.sendall(wire.associate())
        wire.answer(connection)
        piece = wire.data((1, 1, bytes(1_000_000)))
        for _ in range(40):
            connection.sendall(piece)
        assert wire.answer(connection)[0] == wire.ABORT
    assert run("echoscu", node.port).returncode == 0


def test_our_longest_pdu_is_announced(node: Node) -> None:
    with wire.connect(node.port) as connection:
        connection.sendall(wire.associate())
        assert b"\x51\0\0\4" + MAX_PDU_SIZE.to_bytes(4, "big") in wire.answer(connection)


@pytest.mark.servers
@pytest.mark.parametrize("limits", [{"max_associations": 3}, {"max_associations_per_address": 3}])
def test_f13_associations_beyond_the_limit_are_rejected_for_now(tmp_path: Path, limits: dict[str, int]) -> None:
    with node_at(tmp_path, **limits) as node:
        with connections(node.port, 3, wire.associate()) as several:
            assert [wire.answer(one)[0] for one in several] == [wire.ACCEPT] * 3
            with wire.connect(node.port) as fourth:
                fourth.sendall(wire.associate())
                assert wire.answer(fourth) == bytes((3, 0, 0, 0, 0, 4, 0, 2, 3, 2))
            done = run("echoscu", node.port)
            assert done.returncode != 0
            assert "Local Limit Exceeded" in done.stdout + done.stderr
        wait_until(lambda: node.association_count == 0)
        assert run("echoscu", node.port).returncode == 0


@pytest.mark.servers
def test_f13_senders_that_try_again_lose_nothing(tmp_path: Path) -> None:
    files = write_ct(tmp_path / "ct", 1000)
    groups = [files[start : start + 100] for start in range(0, 1000, 100)]
    rejected, pause = [], threading.Event()
    with node_at(tmp_path, max_associations=3) as node:

        def sender(group: list[Path]) -> None:
            while send(node.port, group).returncode != 0:
                rejected.append(1)
                pause.wait(0.2)

        threads = [threading.Thread(target=sender, args=(group,)) for group in groups]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(received(Inbox(tmp_path / "inbox"))) == [uid(number) for number in range(1000)]
    assert rejected


def test_64_associations_at_a_time(tmp_path: Path) -> None:
    with (
        node_at(tmp_path, max_associations_per_address=64) as node,
        connections(node.port, 64, wire.associate()) as several,
    ):
        assert [wire.answer(one)[0] for one in several] == [wire.ACCEPT] * 64
        assert node.association_count == 64
        for one in several:
            one.sendall(b"\5\0\0\0\0\4\0\0\0\0")
        assert [wire.answer(one)[0] for one in several] == [6] * 64


@pytest.mark.servers
def test_a_flood_of_requests_is_rejected(tmp_path: Path) -> None:
    with node_at(tmp_path, max_associations=2) as node:
        with connections(node.port, 200, wire.associate()) as several:
            answers = [wire.answer(one) for one in several]
            assert [answer[0] for answer in answers].count(wire.ACCEPT) == 2
            assert {answer for answer in answers if answer[0] != wire.ACCEPT} == {bytes((3, 0, 0, 0, 0, 4, 0, 2, 3, 2))}
        wait_until(lambda: node.association_count == 0)
        assert run("echoscu", node.port).returncode == 0


def test_a_budget_counts_by_address() -> None:
    budget = Budget(total=3, per_address=2)
    assert [budget.take(address) for address in "aaabb"] == [True, True, False, True, False]
    budget.give_back("a")
    assert budget.count == 2
    assert budget.take("b")
    assert not budget.take("a")


@pytest.mark.servers
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc")
def test_no_file_descriptor_is_left_open(node: Node, tmp_path: Path) -> None:
    def open_descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    files = write_ct(tmp_path / "ct", 2)
    assert send(node.port, files).returncode == 0
    wait_until(lambda: node.association_count == 0)
    before = open_descriptors()
    for _ in range(5):
        assert send(node.port, files).returncode == 0
        with connections(node.port, 3, b"rubbish"):
            pass
        with connections(node.port, 3, wire.associate()) as several:
            assert all(wire.answer(one) for one in several)
    wait_until(lambda: open_descriptors() <= before)


def test_an_untested_version_of_pynetdicom_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with caplog.at_level(logging.INFO), node_at(tmp_path / "tested"):
        pass
    assert "pynetdicom_not_tested" not in caplog.text
    monkeypatch.setattr("pynetdicom.__version__", "99.0")
    with caplog.at_level(logging.INFO), node_at(tmp_path / "other"):
        pass
    assert '"version": "99.0"' in caplog.text
