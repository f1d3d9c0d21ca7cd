"""The validators that our SRs must pass, as functions. They are programs of others; each test really runs them.

A missing program skips the test on a developer's machine and fails it where `CI` is set.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

PIXELMED_JAR = Path("/usr/share/java/pixelmed.jar")
PIXELMED_END = "IOD validation complete"
"""Without this last line the validator died (an OutOfMemoryError prints no line that starts with Error)."""
_JVM_OPTIONS = (
    "-Xmx2g",
    "-Djava.awt.headless=true",
    # JDK 17 refuses the validator's style sheets without these.
    "-Djdk.xml.xpathExprGrpLimit=0",
    "-Djdk.xml.xpathExprOpLimit=0",
    "-Djdk.xml.xpathTotalOpLimit=0",
)
_PIXELMED_ALLOWED = (re.compile(r"129004,DCM.*not found in context group 7453"),)
"""Its CID 7453 is from 2008."""


def missing(what: str) -> None:
    """Skip the test, or fail it where everything must be there."""
    message = f"{what} is not installed"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def program(name: str) -> str:
    """Path of a program, beside this Python or on the PATH."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        missing(name)
    return str(found)


def _run(*command: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False)


def dciodvfy_errors(path: str | os.PathLike[str]) -> list[str]:
    """Errors of dicom3tools' dciodvfy, one line each."""
    result = _run(program("dciodvfy"), "-new", os.fspath(path))
    lines = (result.stdout + result.stderr).splitlines()
    assert any(line.strip() == "ComprehensiveSR" for line in lines), lines[:5]
    errors = [line for line in lines if line.startswith("Error")]
    return errors or ([f"exit code {result.returncode}"] if result.returncode else [])


def dsrdump(path: str | os.PathLike[str]) -> str:
    """The document as DCMTK's dsrdump reads it, in full length; fails if the tree is not legal."""
    result = _run(program("dsrdump"), "+Pn", "+Pl", "+Pc", "+U8", os.fspath(path))
    assert result.returncode == 0, result.stderr
    assert not [line for line in result.stderr.splitlines() if line.startswith("E:")], result.stderr
    return result.stdout


def tid1500_groups(path: str | os.PathLike[str], output: str | os.PathLike[str]) -> list[dict[str, object]]:
    """The measurement groups as dcmqi's tid1500reader (and so 3D Slicer) gets them; `output` = the JSON it writes."""
    command = (program("tid1500reader"), "--inputDICOM", os.fspath(path), "--outputMetadata", os.fspath(output))
    result = _run(*command)
    assert result.returncode == 0, result.stdout + result.stderr
    groups: list[dict[str, object]] = json.loads(Path(output).read_text(encoding="utf-8"))["Measurements"]
    return groups


def pixelmed_errors(paths: Sequence[str | os.PathLike[str]]) -> dict[str, list[str]]:
    """Errors of PixelMed's DicomSRValidator by path: template rows, order, context groups.

    Give it twins titled 126000 with few groups: with another title it checks nothing, with many it runs out of memory.
    All files go through one virtual machine, in a process of its own (a JVM cannot be stopped inside this one).
    """
    if not PIXELMED_JAR.is_file() or shutil.which("java") is None:
        missing("pixelmed.jar (libpixelmed-java) or java")
    pytest.importorskip("jpype")
    result = _run(sys.executable, __file__, *map(os.fspath, paths), timeout_s=600)
    assert result.returncode == 0, result.stderr
    outputs: dict[str, list[str]] = json.loads(result.stdout.splitlines()[-1])
    return {path: _pixelmed_judged(lines) for path, lines in outputs.items()}


def _pixelmed_judged(lines: list[str]) -> list[str]:
    errors = [line for line in lines if line.startswith("Error")]
    errors = [line for line in errors if not any(allowed.search(line) for allowed in _PIXELMED_ALLOWED)]
    if not any("Found Root Template TID_1500" in line for line in lines):
        errors.append("PixelMed did not find template 1500")
    if not lines or lines[-1].strip() != PIXELMED_END:
        errors.append(f"PixelMed stopped early: {lines[-1:]}")
    return errors


def _pixelmed(paths: Sequence[str]) -> None:
    import jpype

    jpype.startJVM(*_JVM_OPTIONS, classpath=[str(PIXELMED_JAR)])
    validator = jpype.JClass("com.pixelmed.validate.DicomSRValidator")()
    # describe, match the case of meanings, check ambiguous templates, check order, check template ids
    outputs = {path: str(validator.validate(path, False, True, False, True, True)).splitlines() for path in paths}
    print(json.dumps(outputs))


if __name__ == "__main__":
    _pixelmed(sys.argv[1:])
