"""The marks of tests are complete: a test that starts programs is marked."""

from __future__ import annotations

import subprocess
import sys
from threading import Thread

import pytest

from tests import tiers


def test_folders_of_the_table_are_there() -> None:
    assert [name for name in tiers.FOLDERS if not list((tiers.TESTS / name).glob("test_*.py"))] == []


def test_a_test_without_mark_cannot_start_a_program() -> None:
    tiers.GUARD.is_closed = True
    with pytest.raises(pytest.fail.Exception, match="without the mark 'servers'"):
        subprocess.run([sys.executable, "-c", ""], check=False)
    tiers.GUARD.is_closed = False
    assert tiers.GUARD.refused.pop().startswith("subprocess.Popen")


def test_a_start_that_nobody_sees_fail_is_remembered() -> None:
    def start() -> None:
        with pytest.raises(pytest.fail.Exception):
            subprocess.run([sys.executable, "-c", ""], check=False)

    tiers.GUARD.is_closed = True
    thread = Thread(target=start)
    thread.start()
    thread.join()
    assert len(tiers.GUARD.refused) == 1
    with pytest.raises(pytest.fail.Exception), tiers.GUARD.closed():
        tiers.GUARD.refused.append("subprocess.Popen")
    tiers.GUARD.is_closed = False
    tiers.GUARD.refused.clear()


@pytest.mark.servers
def test_a_marked_test_can() -> None:
    assert subprocess.run([sys.executable, "-c", ""], check=False).returncode == 0
