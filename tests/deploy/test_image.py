"""Dockerfile and .dockerignore, as far as they can be checked without an engine."""

from __future__ import annotations

import re

from segqa_dicom.viewer import NAME, VERSION
from tests.deploy.files import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
VIEWER, *STAGES = re.split(r"(?m)^FROM ", DOCKERFILE)[1:]


def test_every_stage_stands_on_the_same_pinned_python() -> None:
    assert re.search(r"(?m)^ARG PYTHON_IMAGE=python:3\.\d+\.\d+-slim", DOCKERFILE)
    assert [stage.split()[0] for stage in STAGES] == ["${PYTHON_IMAGE}"] * 3


def test_the_viewer_that_the_program_knows_is_in_the_image() -> None:
    assert re.search(r"(?m)^ARG NODE_IMAGE=node:\d+\.\d+\.\d+-slim", DOCKERFILE)
    assert f"npm pack --silent {NAME}@{VERSION}" in VIEWER
    assert "segqa viewer install --from" in STAGES[1]
    assert "COPY --from=install /opt/viewer /opt/viewer" in STAGES[2]
    assert "SEGQA_VIEWER=/opt/viewer" in STAGES[2]


def test_the_last_stage_builds_and_installs_nothing() -> None:
    assert not re.search(r"apt-get|pip |gcc|git ", STAGES[-1])
    assert "COPY --from=install" in STAGES[-1]


def test_it_runs_as_a_user_with_a_fixed_number() -> None:
    assert re.findall(r"(?m)^USER (.*)$", STAGES[-1]) == ["10001:10001"]
    assert "--uid 10001" in STAGES[-1]


def test_kernels_are_compiled_where_the_program_looks_for_them() -> None:
    assert "NUMBA_CACHE_DIR=/kernels /opt/segqa/bin/segqa demo" in STAGES[1]
    assert "/kernels /var/cache/segqa/kernels" in STAGES[2]
    assert "NUMBA_CACHE_DIR=/var/cache/segqa/kernels" in STAGES[2]


def test_the_container_is_the_command() -> None:
    assert 'ENTRYPOINT ["segqa"]' in STAGES[-1]
    assert "HEALTHCHECK" in STAGES[-1]


def test_only_what_the_wheel_is_made_of_reaches_the_builder() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = set(re.findall(r"(?m)^COPY (?!--from)(.*) \S+$", STAGES[0]))
    assert {name for names in copied for name in names.split()} == allowed
