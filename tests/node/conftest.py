"""A node with its inbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from segqa_dicom.inbox import Inbox
from segqa_dicom.node import Node
from tests.node.objects import node_at


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with node_at(tmp_path) as one:
        yield one


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "inbox")
