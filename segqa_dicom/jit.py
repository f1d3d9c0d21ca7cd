"""The one way in which segqa compiles its kernels, and where the compiled code is kept.

numba keeps compiled kernels in the ``__pycache__`` beside their source, else in the user's cache directory, and
refuses to import where it may write to neither (installed by root, run by a service account without a home). Only then
a directory of this user below the temporary directory takes their place; `NUMBA_CACHE_DIR`, if set, is never touched.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _is_writable(directory: Path) -> bool:
    """Whether files can really be made there; permission bits alone do not tell (read-only mounts, root)."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def _user_cache_directory() -> Path:
    """Where numba would look second: its own directory in the user's cache directory."""
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or str(Path("~/AppData/Local").expanduser())
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(base) / "numba"


def _private_temporary_directory() -> Path:
    """A directory below the temporary directory that only this user can write to.

    One per user, so that the next process finds the compiled kernels; numba unpickles what lies there, therefore a
    directory of that name that belongs to somebody else, or that others may write to, is not used.
    """
    user = os.getuid() if hasattr(os, "getuid") else "user"
    directory = Path(tempfile.gettempdir()) / f"segqa-numba-{user}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        status = directory.lstat()
    except OSError:
        return Path(tempfile.mkdtemp(prefix="segqa-numba-"))
    is_mine = not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)
    if stat.S_ISDIR(status.st_mode) and is_mine:
        return directory
    return Path(tempfile.mkdtemp(prefix="segqa-numba-"))


def _ensure_cache_directory(package: Path) -> None:
    """Point numba to a temporary directory if it could keep compiled kernels nowhere else."""
    if os.environ.get("NUMBA_CACHE_DIR"):
        return
    if _is_writable(package / "__pycache__") or _is_writable(_user_cache_directory()):
        return
    os.environ["NUMBA_CACHE_DIR"] = str(_private_temporary_directory())


# Where this file may be compiled to, the rooms beside it may be, too.
_ensure_cache_directory(Path(__file__).parent)

import numba  # noqa: E402  (numba reads NUMBA_CACHE_DIR when it is imported)

# Where somebody imported numba before us it has read its settings already.
numba.config.reload_config()  # type: ignore[no-untyped-call]


def kernel(function: _Function) -> _Function:
    """Compile on first use for the types at hand, keep the result, and run without the interpreter lock.

    Never with `fastmath`: sums would depend on the machine, and flushing subnormals to zero breaks SciPy's KD-tree.
    """
    return cast("_Function", numba.njit(cache=True, nogil=True)(function))


def is_compiled() -> bool:
    """Whether the kernels were compiled since their source was installed; else the first review takes a while longer.

    The largest of them stands for all.
    """
    source = Path(__file__).parent / "measures" / "surface.py"
    places = [source.parent / "__pycache__", _user_cache_directory()]
    if os.environ.get("NUMBA_CACHE_DIR"):
        places = [Path(os.environ["NUMBA_CACHE_DIR"])]
    found = (path for place in places if place.is_dir() for path in place.rglob("surface*.nbi"))
    return any(path.stat().st_mtime >= source.stat().st_mtime for path in found)
