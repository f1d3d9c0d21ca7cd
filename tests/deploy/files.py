"""The deployment's files as the programs that use them read them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.servers.process import program

ROOT = Path(__file__).parents[2]
ORTHANC = ROOT / "orthanc"


@cache
def compose() -> dict[str, Any]:
    """docker-compose.yml with everything merged and every variable at its default."""
    return read_compose({})


def read_compose(variables: dict[str, str]) -> dict[str, Any]:
    """docker-compose.yml as `docker-compose` reads it; neither this machine's environment nor a .env file gets in."""
    with tempfile.NamedTemporaryFile(suffix=".env") as empty:
        command = [program("docker-compose"), "--file", "docker-compose.yml", "--env-file", empty.name, "config"]
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **variables},
            cwd=ROOT,
            check=False,
        )
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr
    loaded: dict[str, Any] = yaml.safe_load(result.stdout.replace("$$", "$"))
    return loaded


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def read_json_with_comments(path: Path) -> dict[str, Any]:
    """As Orthanc and its image do: comments of C++ are left out, strings are not searched for them."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^\\"])*"', re.DOTALL)
    text = pattern.sub(lambda found: found[0] if found[0].startswith('"') else " ", path.read_text())
    loaded: dict[str, Any] = json.loads(text)
    return loaded
