"""Marks of all tests, and servers that tests of several folders use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import phantom_studies, tiers
from tests.servers.orthanc import Orthanc
from tests.servers.postgres import PostgresCluster, postgres_cluster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        tiers.mark(item)
    tiers.put_long_files_first(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with tiers.guard(item):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with tiers.guard(item):
        yield


@pytest.fixture(scope="session", autouse=True)
def _phantoms(tmp_path_factory: pytest.TempPathFactory) -> None:
    phantom_studies.keep_below(tmp_path_factory)


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    """A running Orthanc with an empty storage, for one test."""
    with Orthanc(tmp_path / "orthanc") as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    """One cluster for the tests of this process; each test has a database of its own."""
    with postgres_cluster() as cluster:
        yield cluster
