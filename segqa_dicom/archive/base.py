"""The `Archive` protocol and its data types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Instance:
    """The identity of an instance; all UIDs are normalised (`segqa_dicom.dicom.uids`)."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str


@dataclass(frozen=True, slots=True)
class Series:
    """A series of the archive.

    instance_count : Number of Series Related Instances; None if the archive does not report it
    """

    study_instance_uid: str
    series_instance_uid: str
    modality: str
    instance_count: int | None = None


Content: TypeAlias = Path | bytes
"""A DICOM file, as its path or its bytes."""


@dataclass(frozen=True, slots=True)
class Header:
    """Attributes of an object that an archive indexes.

    values : by keyword; attributes without a value are left out
    requests : items of Request Attributes Sequence, as values by keyword
    """

    values: Mapping[str, str]
    requests: tuple[Mapping[str, str], ...]
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An object to be stored; its content is read again at each attempt.

    header : of the content, if it was read before and the file is unchanged
    """

    instance: Instance
    content: Content
    header: Header | None = None


class Outcome(StrEnum):
    """Result of storing an object."""

    STORED = "stored"
    ALREADY_THERE = "already there"
    """The archive has the same content."""
    CONFLICT = "conflict"
    """The archive has another content with this SOP Instance UID and keeps it."""
    REFUSED = "refused"
    """The archive will not accept the object, for `reason`."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Outcome for one object.

    reason : of a refusal or a conflict
    kept_digest, refused_digest : `content_digest` of the archived and of the sent content of a conflict
    """

    sop_instance_uid: str
    outcome: Outcome
    reason: str = ""
    kept_digest: str = ""
    refused_digest: str = ""


class Archive(Protocol):
    """A DICOM archive. All methods are safe for several threads and processes.

    All raise `PeerUnavailable` if the archive cannot be reached or does not answer in time (a later attempt may
    succeed) and `PeerRefused` if it does not support the request.
    """

    def list_series(
        self,
        *,
        study_instance_uid: str | None = None,
        series_instance_uid: str | None = None,
        modality: str | None = None,
    ) -> list[Series]:
        """Series that match all arguments; all series without arguments."""

    def list_instances(self, study_instance_uid: str, series_instance_uid: str) -> list[Instance]:
        """All instances of a series, in any order; empty for an unknown series."""

    def find_instances(self, sop_instance_uids: Iterable[str]) -> list[Instance]:
        """The archived instances among these."""

    def fetch(self, instances: Sequence[Instance], folder: Path) -> dict[str, Path]:
        """Files of instances, by SOP Instance UID; without those that are not archived.

        The files are in `folder`, or are those of the archive itself if it is a folder: do not change or delete them
        except by deleting `folder`.
        """

    def store(self, objects: Sequence[Outgoing]) -> list[Stored]:
        """Store objects durably; returns an outcome for each, in order.

        Storing an archived object again changes nothing. Raises `PeerUnavailable` if the outcome of any object is
        unknown; then all can be sent again.
        """
