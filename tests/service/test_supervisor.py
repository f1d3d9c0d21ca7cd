"""``segqa serve`` looks after its processes: whoever dies is started again, and nobody is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.servers.process import Process, program, wait_until
from tests.servers.service import QUICK, START_S, Serve, send
from tests.service.cases import TINY, small_case

pytestmark = pytest.mark.servers


def _in_session(leader: int) -> list[int]:
    """All processes that a process has started, directly or not, and itself."""
    found = subprocess.run(["pgrep", "-s", str(leader)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def _answers_echo(port: int) -> bool:
    command = [program("echoscu"), "-to", "5", "-aec", "SEGQA", "127.0.0.1", str(port)]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


def _is_healthy(service: Serve) -> bool:
    return bool(requests.get(f"{service.url}/healthz", timeout=5).json()["status"] == "ok")


def _is_closed(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_each_process_is_started_again_where_it_listened_and_ctrl_c_ends_all(tmp_path: Path) -> None:
    case = small_case(tmp_path / "case", TINY)
    with Serve(tmp_path / "service") as service:
        assert service.process is not None
        before = set(service.children())
        node, web = service.dicom_port, service.ports["http_port"]
        roles = ("node", "web", "coordinator", "worker 1")
        killed = [service.pid_of(role) for role in roles]
        assert set(killed) <= before
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        for role in roles:
            line = f'"process": "{role}"'
            wait_until(lambda line=line: line in service.log.read_text(), 30, f"{role} is missed")  # type: ignore[misc]
        wait_until(lambda: _answers_echo(node), START_S, "the node answers at the same port")
        wait_until(lambda: _is_healthy(service), START_S, "the web server answers at the same port")
        wait_until(lambda: len(set(service.children()) - before) == len(roles), START_S, "all have successors")
        assert not set(killed) & set(service.children())
        assert send(node, case) == 0
        service.wait_for_cases(1)
        leader = service.process.pid
        assert service.stop(signal.SIGINT) == 0
        wait_until(lambda: not _in_session(leader), 10, "nothing is left running")
        assert _is_closed(node)
        assert _is_closed(web)
        log = service.log.read_text()
        assert "Traceback" not in log, log


def test_when_the_supervisor_is_killed_the_others_end_by_themselves(tmp_path: Path) -> None:
    with Serve(tmp_path / "service") as service:
        assert service.process is not None
        leader = service.process.pid
        # The worker may still be importing; it has to end then, too.
        assert len(_in_session(leader)) > len(service.ports["pids"])
        os.kill(leader, signal.SIGKILL)
        service.process.wait(10)
        wait_until(lambda: not _in_session(leader), 60, "nothing is left running")
        assert _is_closed(service.dicom_port)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield int(listening.getsockname()[1])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        pytest.param(["--dicom-port", "TAKEN"], "cannot listen on 127.0.0.1:TAKEN", id="the DICOM port is taken"),
        pytest.param(["--http-port", "TAKEN"], "cannot listen on 127.0.0.1 port TAKEN", id="the HTTP port is taken"),
        pytest.param(["--archive", "FILE/archive"], "FILE/archive", id="the archive's folder cannot be made"),
        pytest.param(["--ledger", "sqlite:///FILE/ledger"], "cannot be made", id="the ledger cannot be made"),
        pytest.param(
            ["--ledger", "mysql://host/x"], "the URL of the ledger is not valid", id="the ledger's URL is wrong"
        ),
        pytest.param(["--ruleset", "FILE"], "rule set FILE cannot be read", id="the rules cannot be read"),
    ],
)
def test_what_hinders_it_is_told_in_one_sentence_and_ends_with_2(
    tmp_path: Path, taken: int, options: list[str], sentence: str
) -> None:
    file = tmp_path / "file"
    file.write_text("no folder, no rules")
    given = {"--dicom-port": "0", "--http-port": "0", "--archive": str(tmp_path / "archive")}
    given[options[0]] = options[1]
    words = [word for option in given.items() for word in option]
    words = [word.replace("TAKEN", str(taken)).replace("FILE", str(file)) for word in words]
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "segqa_dicom", "serve", "--quiet", "--workers", "1", *words],
            stdout=out,
            stderr=err,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **QUICK, "SEGQA_DATA": str(tmp_path / "data")},
            start_new_session=True,
        )
        assert process.wait(START_S) == 2
    said = (tmp_path / "err").read_text()
    assert sentence.replace("TAKEN", str(taken)).replace("FILE", str(file)) in said
    assert said.startswith("segqa: ")
    assert len(said.splitlines()) == 1, said
    assert (tmp_path / "out").read_text() == ""
    wait_until(lambda: not _in_session(process.pid), 10, "nothing is left running")


def test_ctrl_c_while_it_starts_ends_it_with_0(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "segqa_dicom", "serve", "--archive", str(tmp_path / "archive"), "--workers", "1"]
    log = tmp_path / "log"
    with Process([*command, "--dicom-port", "0", "--http-port", "0"], log) as service:
        wait_until(lambda: "node_started" in service.output(), 120, "the node to listen")
        assert service.stop(signal.SIGINT, timeout_s=60) == 0
    assert "Traceback" not in log.read_text()


def test_what_processes_left_half_received_is_removed_when_they_start_again(tmp_path: Path) -> None:
    parts = tmp_path / "service" / "data" / "inbox" / "incoming"
    parts.mkdir(parents=True)
    for name in ("node-1", "stow-1", "stow-1-value", "others-1"):
        (parts / name).write_bytes(b"half")
    with Serve(tmp_path / "service", workers=0):
        assert [path.name for path in parts.iterdir()] == ["others-1"]
