"""Marks of tests, from which `tests/run.sh` makes its tiers, and the guard that keeps the marks complete.

Folders and fixtures mark their tests here; in other files a test is marked where it stands. In the quick tier a test may
start worker processes of Python's `multiprocessing` and converters that pip has installed, nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest
from hypothesis import settings

TESTS = Path(__file__).resolve().parent
FOLDERS = {"contributing": ("servers",), "faults": ("servers",), "pages": ("servers", "browser")}
FIXTURES = {
    "browser": ("servers", "browser"),
    "ohif": ("servers",),
    "orthanc": ("servers",),
    "deployed": ("servers",),
    "embedded": ("servers",),
    "phantom_server": ("servers",),
    "postgres": ("servers",),
    "serve": ("servers",),
}
STARTS = {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "pty.spawn", "subprocess.Popen"}
"""Audit events of Python: a program is about to be started."""
CONVERTERS = {"segimage2itkimage", "tid1500reader", "tid1500writer"}
"""Of dcmqi; each runs for a tenth of a second."""

EXAMPLES = 100
"""Of a property, where its test does not say how many."""
settings.register_profile("default", deadline=None, max_examples=EXAMPLES)
settings.register_profile("long", deadline=None, max_examples=10 * EXAMPLES)


def examples(count: int) -> settings:
    """Settings of a property with `count` examples, ten times as many in the tier of long tests."""
    return settings(max_examples=count * settings.default.max_examples // EXAMPLES)


def mark(item: pytest.Item) -> None:
    """Add the marks that follow from the folder and the fixtures of a test."""
    folder = item.path.relative_to(TESTS).parts[0]
    names = set(FOLDERS.get(folder, ()))
    for fixture in getattr(item, "fixturenames", ()):
        names.update(FIXTURES.get(fixture, ()))
    for name in sorted(names):
        item.add_marker(name)


def put_long_files_first(items: list[pytest.Item]) -> None:
    """Files with tests in a browser, then those that start programs, then the others: so processes end together."""
    files: dict[Path, int] = {}
    for item in items:
        rank = 2 if item.get_closest_marker("browser") else 1 if item.get_closest_marker("servers") else 0
        files[item.path] = max(rank, files.get(item.path, 0))
    items.sort(key=lambda item: -files[item.path])


class Guard:
    """Stops the start of a program while it is closed, and remembers it: code under test may catch what is raised."""

    def __init__(self) -> None:
        self.is_closed = False
        self.refused: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.is_closed and event in STARTS and not _is_converter(arguments):
            self.refused.append(f"{event} {arguments[:2]}")
            pytest.fail(f"a test without the mark 'servers' starts a program: {self.refused[-1]}")

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Keep it closed; fails at the end if a program was about to be started."""
        self.is_closed = True
        try:
            yield
        finally:
            self.is_closed = False
            refused, self.refused = self.refused, []
        if refused:
            pytest.fail(f"a test without the mark 'servers' starts programs: {refused}")


def _is_converter(arguments: tuple[object, ...]) -> bool:
    return bool(arguments) and Path(str(arguments[0])).name in CONVERTERS


GUARD = Guard()


def guard(item: pytest.Item) -> AbstractContextManager[None]:
    """The closed guard in the quick tier, which promises to start no program; else nothing.

    In the other tiers the programs are there, so that a missing mark does no harm.
    """
    is_quick = "not (servers" in str(item.config.getoption("markexpr"))
    return GUARD.closed() if is_quick and not item.get_closest_marker("servers") else nullcontext()
