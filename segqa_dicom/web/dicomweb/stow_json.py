"""STOW-RS of DICOM JSON (PS3.18, sections 8.7.3.2 and 10.5): objects without their large values, and these as parts.

The first part is a JSON array of objects; each further part is the value to which a BulkDataURI of theirs refers by its
Content-Location. Values are uncompressed and little endian; what is stored is Explicit VR Little Endian.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from pydicom import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from segqa_dicom.archive import Instance
from segqa_dicom.dicom.dicom_json import AVAILABLE_TRANSFER_SYNTAX
from segqa_dicom.dicom.multipart import Event, PartBegins, PartEnds
from segqa_dicom.dicom.opening import translated
from segqa_dicom.dicom.uids import normalised_uid
from segqa_dicom.errors import InputError, UnreadableObject
from segqa_dicom.web.dicomweb.media import DICOM_JSON, JSON, OCTETS, media_type
from segqa_dicom.web.problems import Problem

MAX_JSON_BYTES = 1 << 26
"""JSON is taken to memory as a whole; the largest metadata of a segmentation have 20 MB."""
MAX_VALUE_BYTES = 1 << 29
"""So are the values, one object at a time."""
PART_PREFIX = "stow-"
"""Beginning of the names of what is being received, for it shares a folder with what the node receives."""
_IDENTITY = ("0020000D", "0020000E", "00080018", "00080016")
_DEFAULT_CHARACTER_SET = "ISO_IR 192"


class Objects(Protocol):
    """Who takes the files that are made of JSON."""

    def add(self, path: Path) -> None:
        """A complete object in a file, which becomes theirs."""

    def store(self) -> None:
        """Store what was added."""

    def fail(self, instance: Instance | None) -> None:
        """Note that an object cannot be understood."""

    def remove(self) -> None:
        """Delete what is left."""


class JsonReceiver:
    """Takes the parts of a body, and makes files of them in a folder."""

    def __init__(self, folder: Path, objects: Objects) -> None:
        self._folder, self._objects = folder, objects
        self._json = bytearray()
        self._has_json = False
        self._values: dict[str, Path] = {}
        self._stream: BinaryIO | None = None
        self._value_bytes = 0

    def take(self, events: Sequence[Event]) -> None:
        """What a piece of the body brought."""
        for event in events:
            if isinstance(event, PartBegins):
                self._begin(event)
            elif isinstance(event, PartEnds):
                self._end()
            elif self._stream is not None:
                self._value_bytes += len(event)
                if self._value_bytes > MAX_VALUE_BYTES:
                    raise Problem(413, f"a value above {MAX_VALUE_BYTES} bytes; send the object as application/dicom")
                self._stream.write(event)
            else:
                self._json += event
                if len(self._json) > MAX_JSON_BYTES:
                    raise Problem(
                        413, f"more than {MAX_JSON_BYTES} bytes of JSON; send the objects as application/dicom"
                    )

    def _begin(self, part: PartBegins) -> None:
        kind = media_type(part.content_type)
        if not self._has_json:
            if kind.name not in ("", DICOM_JSON, JSON):
                raise Problem(415, f"the first part of the body is not {DICOM_JSON}")
            return
        if kind.name not in ("", OCTETS) or kind.transfer_syntax not in ("", "*", str(ExplicitVRLittleEndian)):
            raise Problem(415, f"large values are taken as {OCTETS}, uncompressed; send others as application/dicom")
        if not part.location:
            raise Problem(400, "a large value has no Content-Location by which an object refers to it")
        path = self._folder / f"{PART_PREFIX}{secrets.token_hex(16)}-value"
        self._values[part.location] = path
        self._stream, self._value_bytes = path.open("wb"), 0

    def _end(self) -> None:
        self._has_json = True
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def store(self) -> None:
        """Make the objects, and have them stored."""
        for one in self._parsed():
            path = self._folder / f"{PART_PREFIX}{secrets.token_hex(16)}"
            try:
                _write(self._dataset(one), path)
            except InputError:
                path.unlink(missing_ok=True)
                self._objects.fail(_identity(one))
                continue
            self._objects.add(path)
        self._objects.store()
        self._remove_values()

    def _parsed(self) -> list[dict[str, Any]]:
        try:
            found = json.loads(bytes(self._json) or b"[]")
        except (ValueError, RecursionError) as error:
            raise Problem(400, f"the first part of the body is no {DICOM_JSON}") from error
        self._json.clear()
        objects = found if isinstance(found, list) else [found]
        if not all(isinstance(one, dict) for one in objects):
            raise Problem(400, "the first part of the body is no array of objects")
        return objects

    def _dataset(self, one: dict[str, Any]) -> Dataset:
        plain = {tag: value for tag, value in one.items() if not tag.startswith("0002")}
        plain.pop(AVAILABLE_TRANSFER_SYNTAX, None)
        with translated("object in JSON"):
            return Dataset.from_json(plain, lambda _, __, uri: self._value(uri))

    def _value(self, uri: str) -> bytes:
        path = self._values.get(uri)
        if path is None:
            raise UnreadableObject("a large value that the object refers to is not in the body")
        return path.read_bytes()

    def remove(self) -> None:
        """Delete what is left of a request that failed."""
        if self._stream is not None:
            self._stream.close()
        self._remove_values()
        self._objects.remove()

    def _remove_values(self) -> None:
        for path in self._values.values():
            with suppress(FileNotFoundError):
                path.unlink()
        self._values = {}


def _write(dataset: Dataset, path: Path) -> None:
    with translated("object in JSON"):
        dataset.SpecificCharacterSet = _DEFAULT_CHARACTER_SET  # of all JSON (PS3.18, section F.2)
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.MediaStorageSOPClassUID = UID(dataset.SOPClassUID)
        dataset.file_meta.MediaStorageSOPInstanceUID = UID(dataset.SOPInstanceUID)
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.save_as(path, enforce_file_format=True)


def _identity(one: dict[str, Any]) -> Instance | None:
    """Which object it says it is; None if it does not."""
    try:
        return Instance(*(normalised_uid(one[tag]["Value"][0], what="UID") for tag in _IDENTITY))
    except (InputError, LookupError, TypeError, AttributeError):
        return None
