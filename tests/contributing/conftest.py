"""A small phantom that the edited copies review."""

from __future__ import annotations

from pathlib import Path

import pytest

from segqa_dicom.phantoms import demo_study


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    demo_study(folder, shape=(40, 56, 64))
    return folder
