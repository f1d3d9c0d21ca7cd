"""Where compiled kernels are kept, and what they must not do to the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from segqa_dicom import jit

PACKAGE = Path(jit.__file__).parent


def test_a_writable_package_needs_no_other_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    jit._ensure_cache_directory(tmp_path)
    assert "NUMBA_CACHE_DIR" not in os.environ


def test_the_place_the_user_chose_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "chosen")
    monkeypatch.setattr(jit, "_is_writable", lambda _: False)
    jit._ensure_cache_directory(tmp_path)
    assert os.environ["NUMBA_CACHE_DIR"] == "chosen"


def test_without_any_writable_place_a_private_one_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")
    monkeypatch.setattr(jit, "_is_writable", lambda _: False)
    monkeypatch.setattr(jit.tempfile, "gettempdir", lambda: str(tmp_path))
    jit._ensure_cache_directory(tmp_path)
    made = Path(os.environ["NUMBA_CACHE_DIR"])
    assert made.parent == tmp_path
    assert made.stat().st_mode & 0o077 == 0
    assert jit._private_temporary_directory() == made


def test_a_directory_others_may_write_to_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(jit.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(jit.tempfile, "mkdtemp", lambda prefix: str(tmp_path / "fresh"))
    planted = jit._private_temporary_directory()
    planted.chmod(0o777)
    assert jit._private_temporary_directory() == tmp_path / "fresh"


@pytest.mark.servers
def test_kernels_import_where_numba_would_find_no_place(tmp_path: Path) -> None:
    """A plain file stands where the cache directories would be: it stops root, too, whom permissions do not stop."""
    copy = tmp_path / "measures"
    copy.mkdir()
    (copy / "jit.py").write_text((PACKAGE / "jit.py").read_text())
    (copy / "__pycache__").write_text("not a directory")
    (tmp_path / "home").write_text("not a directory")
    (tmp_path / "tmp").mkdir()
    (copy / "use.py").write_text(
        "from jit import kernel\n@kernel\ndef double(x):\n    return 2 * x\nassert double(21) == 42\n"
    )
    environment = {
        **os.environ, "XDG_CACHE_HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": str(copy),
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    environment.pop("NUMBA_CACHE_DIR", None)
    subprocess.run([sys.executable, "-c", "import use"], env=environment, check=True, timeout=120)
    assert list((tmp_path / "tmp").rglob("*.nbi"))


def test_subnormal_numbers_survive() -> None:
    import segqa_dicom.measures  # noqa: F401

    assert np.float64(5e-324) * np.float64(1.0) > 0
