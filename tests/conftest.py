"""Marks of all tests, and servers that tests of several folders use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import tiers
from tests.servers.orthanc import Orthanc

settings.register_profile("default", deadline=None)
settings.register_profile("long", deadline=None, max_examples=1000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        tiers.mark(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with tiers.guard(item):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with tiers.guard(item):
        yield


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    """A running Orthanc with an empty storage, for one test."""
    with Orthanc(tmp_path / "orthanc") as server:
        yield server
