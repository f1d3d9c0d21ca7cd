"""Thumbnails on disk, so that a list of a thousand segments opens no case.

::

    ab/abcd….thumbnail     SHA-256 of the image, then the image; named by a digest of its content's identity

Several processes can share the folder: files are written atomically, and damaged ones are drawn again. All files can be
deleted at any time. The images show patients; the folder is readable by its owner only.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock

from segqa_dicom.digests import digest
from segqa_dicom.model import PointMm
from segqa_dicom.pictures.open_cases import OpenCases
from segqa_dicom.pictures.thumbnails import DRAWING_VERSION, thumbnail

_ENDING, _PART = ".thumbnail", ".part"
_DIGEST_BYTES = 32
_LEFTOVER_S = 3600
"""Age of a partial file whose writer must have died."""
_PRUNE_TO = 0.9
_RECOUNTS = 20
"""The folder is counted again after each 1/20 of its capacity, because other processes write there, too."""


class Thumbnails:
    """Thumbnails of segments, cached on disk.

    folder : created if it does not exist
    max_bytes, max_files : capacity, beyond which the least recently used are deleted; each process may exceed it by a
        twentieth
    """

    def __init__(
        self, cases: OpenCases, folder: Path, *, max_bytes: int = 200_000_000, max_files: int = 20_000
    ) -> None:
        self._cases, self._folder = cases, folder
        self._max_bytes, self._max_files = max_bytes, max_files
        self._lock = Lock()
        self._bytes = self._files = self._new_bytes = self._new_files = 0
        self._is_counted = False
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def find(
        self, ct_series: str, segmentation: str, segment: int, point_mm: PointMm | None = None, *, size_px: int = 128
    ) -> bytes | None:
        """The thumbnail on disk; None if it is missing or damaged."""
        path = self._path(ct_series, segmentation, segment, point_mm, size_px)
        try:
            content = path.read_bytes()
            picture = content[_DIGEST_BYTES:]
            if hashlib.sha256(picture).digest() != content[:_DIGEST_BYTES]:
                path.unlink(missing_ok=True)
                return None
            os.utime(path)
        except OSError:
            return None
        return picture

    def get(
        self,
        study: str,
        ct_series: str,
        segmentation: str,
        segment: int,
        point_mm: PointMm | None = None,
        *,
        size_px: int = 128,
    ) -> bytes:
        """The thumbnail of a segment (0 = the segmentation as a whole) at a point in LPS mm, else at its centre.

        It has the contours of the segment; if that is empty, of its counterparts in other models. The case is opened
        unless the thumbnail is on disk. Raises as `OpenCases.open` does, and `NoSuchSegment`.
        """
        if (kept := self.find(ct_series, segmentation, segment, point_mm, size_px=size_px)) is not None:
            return kept
        case = self._cases.open(study, ct_series, must_have=segmentation, in_passing=True)
        focus = []
        if segment:
            place = case.segment_place(segmentation, segment)
            focus = [place] if case.bounding_box(*place) is not None else [place, *case.counterparts(*place)]
        drawn = thumbnail(case, point_mm, focus, size_px=size_px)
        self._keep(self._path(ct_series, segmentation, segment, point_mm, size_px), drawn)
        return drawn

    def _path(self, ct_series: str, segmentation: str, segment: int, point_mm: PointMm | None, size_px: int) -> Path:
        """Objects never change, so that UIDs identify content; points are rounded to 0.1 mm."""
        place = None if point_mm is None else [round(float(value), 1) + 0.0 for value in point_mm]
        name = digest([DRAWING_VERSION, ct_series, segmentation, segment, place, size_px])
        return self._folder / name[:2] / f"{name}{_ENDING}"

    def _keep(self, path: Path, picture: bytes) -> None:
        """Write a thumbnail; a full disk is ignored."""
        part = path.with_name(f"{secrets.token_hex(16)}{_PART}")
        content = hashlib.sha256(picture).digest() + picture
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            part.write_bytes(content)
            part.replace(path)
        except OSError:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            return
        with self._lock:
            self._new_bytes, self._new_files = self._new_bytes + len(content), self._new_files + 1
            if self._is_counting_due():
                self._prune()

    def _is_counting_due(self) -> bool:
        return (
            not self._is_counted
            or self._new_files * _RECOUNTS >= self._max_files
            or self._new_bytes * _RECOUNTS >= self._max_bytes
            or self._bytes + self._new_bytes > self._max_bytes
            or self._files + self._new_files > self._max_files
        )

    def _prune(self) -> None:
        """Count the files, and delete the least recently used above the capacity."""
        found: list[tuple[float, int, Path]] = []
        for path in self._folder.glob("*/*"):
            with suppress(OSError):  # removed by another process
                status = path.stat()
                if path.suffix == _ENDING:
                    found.append((status.st_mtime, status.st_size, path))
                elif path.suffix == _PART and time.time() - status.st_mtime > _LEFTOVER_S:
                    path.unlink(missing_ok=True)
        found.sort(reverse=True)
        held_bytes, held_files = sum(size for _, size, _ in found), len(found)
        if held_bytes > self._max_bytes or held_files > self._max_files:
            while found and (held_bytes > _PRUNE_TO * self._max_bytes or held_files > _PRUNE_TO * self._max_files):
                _, size, path = found.pop()
                with suppress(OSError):
                    path.unlink(missing_ok=True)
                held_bytes, held_files = held_bytes - size, held_files - 1
        self._bytes, self._files, self._new_bytes, self._new_files = held_bytes, held_files, 0, 0
        self._is_counted = True
