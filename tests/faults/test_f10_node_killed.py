"""F10: the node is killed at each point of taking an object; what was answered with success is there, and nothing by halves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.objects import received, send, uid, write_ct
from tests.node.process import NodeProcess
from tests.servers.process import wait_until

BEFORE = 2
"""Objects that are taken, and answered, before the one that the node does not survive."""


@pytest.mark.parametrize(
    ("point", "is_visible"),
    [
        pytest.param("written", False, id="after the temporary file is written"),
        pytest.param("synchronised", False, id="after it is on the disk"),
        pytest.param("renamed", True, id="after it has its name"),
        pytest.param("unanswered", True, id="before the answer"),
    ],
)
def test_f10_what_was_answered_is_in_the_inbox_and_no_half_file_is_seen(
    tmp_path: Path, point: str, *, is_visible: bool
) -> None:
    files = write_ct(tmp_path / "ct", BEFORE + 2)
    with NodeProcess(tmp_path, environment={"SEGQA_TEST_DIE": f"{point}:{BEFORE + 1}"}) as node:
        sent = send(node.port, files)
        assert sent.returncode != 0
        assert sent.stderr.count("Received Store Response (Success)") == BEFORE, sent.stderr
        wait_until(lambda: not node.is_running, what="the node is dead")
        # `received` reads every file to its end.
        assert received(node.inbox) == [uid(number) for number in range(BEFORE + is_visible)]
        assert len(list(node.inbox.parts.iterdir())) == (0 if is_visible else 1)

    with NodeProcess(tmp_path) as node:
        assert list(node.inbox.parts.iterdir()) == []
        assert send(node.port, files[BEFORE:]).returncode == 0
        assert sorted(set(received(node.inbox))) == [uid(number) for number in range(BEFORE + 2)]
