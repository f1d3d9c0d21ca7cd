"""What the handlers of one application share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from starlette.requests import Request

from segqa_dicom.archive import Archive, Instance
from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.config import ServiceSettings, Settings
from segqa_dicom.findings import FindingsIndex
from segqa_dicom.inbox import Inbox
from segqa_dicom.web.problems import Problem

DICOM_WEB = "/dicom-web"
"""Where DICOMweb begins."""


class LedgerSummary(Protocol):
    """The ledger in numbers, as far as it is shown; see `segqa_dicom.ledger.LedgerSummary`."""

    @property
    def cases(self) -> dict[str, int]:
        """Number of cases by state."""

    @property
    def oldest_runnable_s(self) -> float | None:
        """Age of the oldest case that could run."""

    @property
    def outbox(self) -> int:
        """Documents that the archive has not confirmed."""

    @property
    def quarantined_objects(self) -> int:
        """Refused objects that belong to no case."""

    @property
    def conflicts(self) -> int:
        """Objects that came with another content than the one that is there."""

    @property
    def attempts(self) -> int:
        """Attempts of all cases."""


class SummaryOfLedger(Protocol):
    """What the web asks of the ledger."""

    def summary(self, now: float) -> LedgerSummary:
        """The ledger in numbers at a time in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class State:
    """What the handlers share; nothing of it changes.

    archive_url : of the archive's own DICOMweb, where the archive is not a folder
    on_stored : told of what STOW-RS has stored, or stored again, before the sender gets its answer
    clock : seconds since 1970
    findings : what documents say
    """

    archive: Archive
    ledger: SummaryOfLedger
    inbox: Inbox
    settings: Settings
    service: ServiceSettings
    archive_url: str
    on_stored: Callable[[Sequence[Instance]], None]
    clock: Callable[[], float]
    findings: FindingsIndex

    @property
    def folder_archive(self) -> FolderArchive:
        """The archive as the folder that it is; raises `Problem` 501 if it is another one."""
        if not isinstance(self.archive, FolderArchive):
            where = f": ask {self.archive_url}" if self.archive_url else ""
            raise Problem(501, f"this archive has a DICOMweb of its own{where}")
        return self.archive


def state_of(request: Request) -> State:
    """The state of the application that a request came to."""
    return cast("State", request.app.state.segqa)


def root_of(request: Request) -> str:
    """The URL of our DICOMweb as the sender of a request reaches it, without a slash at the end.

    By the setting `SEGQA_PUBLIC_URL`, else by the request itself; what proxies add to it anybody could have added.
    """
    root = state_of(request).service.public_url or str(request.base_url)
    return f"{root.rstrip('/')}{DICOM_WEB}"
