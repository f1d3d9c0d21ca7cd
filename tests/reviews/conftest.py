"""Offices, each test its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from segqa_dicom.reviews.workflow.workflow import ReviewWorkflow
from tests.reviews.office import Office, make_reviewed


@pytest.fixture(scope="session")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reviewed archive to be copied; nobody may change it."""
    return make_reviewed(tmp_path_factory.mktemp("reviewed"))


@pytest.fixture
def office(reviewed: Path, tmp_path: Path) -> Iterator[Office]:
    """An office with a ledger on SQLite."""
    made = Office(reviewed, tmp_path / "office")
    yield made
    made.close()


@pytest.fixture
def workflow(office: Office) -> ReviewWorkflow:
    return office.workflow()
