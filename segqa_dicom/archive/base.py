"""What the service asks of the place where the images live, whatever it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Instance:
    """What tells an object from all others, and what kind it is; all UIDs are normalised (`segqa_dicom.dicom.uids`)."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str


@dataclass(frozen=True, slots=True)
class Series:
    """A series of the archive.

    instance_count : number of its instances; None if the archive does not say
    """

    study_instance_uid: str
    series_instance_uid: str
    modality: str
    instance_count: int | None = None


Content: TypeAlias = Path | bytes
"""A DICOM file: where it lies, or its bytes."""


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
    """An object to be stored. Its content is read anew at each attempt.

    header : of the content, if it was read and the file has not changed since
    """

    instance: Instance
    content: Content
    header: Header | None = None


class Outcome(StrEnum):
    """What became of an object."""

    STORED = "stored"
    ALREADY_THERE = "already there"
    """The same content was there before."""
    CONFLICT = "conflict"
    """Another content with this SOP Instance UID was there before, and stays."""
    REFUSED = "refused"
    """The archive will never take it as it is; `reason` says why."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Outcome for one object.

    reason : in words, where it was refused
    kept_digest, refused_digest : `content_digest` of what is there and of what was sent, of a conflict
    """

    sop_instance_uid: str
    outcome: Outcome
    reason: str = ""
    kept_digest: str = ""
    refused_digest: str = ""


class Archive(Protocol):
    """A place that holds DICOM objects. Every method may be called from several threads and processes at a time.

    All raise `PeerUnavailable` if the archive cannot be reached or does not answer in time (trying again later may
    help) and `PeerRefused` if it does not answer such a question at all (somebody must change something).
    """

    def list_series(
        self,
        *,
        study_instance_uid: str | None = None,
        series_instance_uid: str | None = None,
        modality: str | None = None,
    ) -> list[Series]:
        """Series that match all of what is given; everything if nothing is."""

    def list_instances(self, study_instance_uid: str, series_instance_uid: str) -> list[Instance]:
        """All instances of a series, in any order; empty if there is no such series."""

    def find_instances(self, sop_instance_uids: Iterable[str]) -> list[Instance]:
        """Those of the instances that are there."""

    def fetch(self, instances: Sequence[Instance], folder: Path) -> dict[str, Path]:
        """Files of instances, by SOP Instance UID; what is not there is left out.

        They lie in `folder`, or where they always lie if this archive is a folder itself: never change or delete them
        but by deleting `folder`.
        """

    def store(self, objects: Sequence[Outgoing]) -> list[Stored]:
        """Store objects durably and say what became of each, in their order; read back what it must be sure of.

        Storing again what is there changes nothing. Raises `PeerUnavailable` if the fate of any is unknown; then all
        may be sent again.
        """
