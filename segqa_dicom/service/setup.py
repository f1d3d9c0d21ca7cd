"""Which archive, which ledger, which folders: what every process of the service is told, and opens for itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from segqa_dicom.archive import Archive
from segqa_dicom.checks.ruleset import RuleSet, default_ruleset, ruleset_from_toml
from segqa_dicom.config import ServiceSettings, Settings
from segqa_dicom.errors import ConfigurationError
from segqa_dicom.inbox import Inbox
from segqa_dicom.ledger import Ledger

if TYPE_CHECKING:
    from segqa_dicom.archive.feed import Feed

_URL_STARTS = ("http://", "https://")


@dataclass(frozen=True)
class Setup:
    """Where everything is. Plain values only, so that it can be sent to other processes.

    archive : folder, or URL of a DICOMweb service
    ledger : SQLAlchemy URL
    data : folder of this host: inbox, quarantine, files being worked on, and the ledger if it is SQLite
    ruleset_file : TOML with rule parameters that differ from the default
    rules : what that file said when `with_rules` was called
    """

    archive: str
    ledger: str
    data: Path
    settings: ServiceSettings = field(default_factory=ServiceSettings)
    review: Settings = field(default_factory=Settings)
    ruleset_file: Path | None = None
    rules: str | None = None

    @classmethod
    def from_settings(
        cls,
        settings: ServiceSettings,
        *,
        archive: str | None = None,
        ledger: str | None = None,
        data: str | None = None,
    ) -> Setup:
        """What the settings say, where it is not given; see the descriptions in `ServiceSettings`."""
        archive = archive or settings.archive
        is_url = archive.startswith(_URL_STARTS)
        folder = data or settings.data or ("./segqa-data" if is_url else archive)
        resolved = Path(folder).expanduser().absolute()
        url = ledger or settings.ledger or f"sqlite:///{resolved / 'ledger.sqlite3'}"
        rules = Path(settings.ruleset).expanduser().absolute() if settings.ruleset else None
        place = archive if is_url else str(Path(archive).expanduser().absolute())
        return cls(place, url, resolved, settings, ruleset_file=rules)

    @property
    def is_folder(self) -> bool:
        """Whether the archive is a folder of this host."""
        return not self.archive.startswith(_URL_STARTS)

    @property
    def inbox_folder(self) -> Path:
        """Objects that were acknowledged and are not in the archive yet."""
        return self.data / "inbox"

    @property
    def quarantine_folder(self) -> Path:
        """Objects that the archive will never take; nothing is deleted there."""
        return self.data / "quarantine"

    @property
    def work_folder(self) -> Path:
        """Files of cases in work."""
        return self.data / "work"

    def make_folders(self) -> None:
        """Make the folders of this host; raises `ConfigurationError` if that is not possible."""
        try:
            for folder in (self.quarantine_folder, self.work_folder):
                folder.mkdir(parents=True, exist_ok=True)
            Inbox(self.inbox_folder)
        except OSError as error:
            raise ConfigurationError(f"cannot write to {self.data}: {error.strerror}") from error

    def open_inbox(self) -> Inbox:
        """The inbox of this host."""
        return Inbox(self.inbox_folder)

    def open_ledger(self) -> Ledger:
        """The ledger, as `Ledger.migrate` has left it."""
        return Ledger(self.ledger, password=self.settings.ledger_password.get_secret_value())

    def open_archive(self) -> Archive:
        """The archive; raises `ConfigurationError` if its folder cannot be used."""
        limits = self.review.limits()
        if self.is_folder:
            from segqa_dicom.archive.folder import FolderArchive

            return FolderArchive(Path(self.archive), linkable=(self.inbox_folder,), limits=limits)
        from segqa_dicom.archive.dicomweb import DicomwebArchive

        settings = self.settings
        return DicomwebArchive(
            self.archive,
            user=settings.archive_user,
            password=settings.archive_password.get_secret_value(),
            timeout_s=settings.archive_timeout_s,
            limits=limits,
            scratch=self.work_folder,
        )

    def open_feed(self, archive: Archive, modalities: Sequence[str] | None = None) -> Feed:
        """What is new in the archive, which is open already; raises `PeerUnavailable` if it does not answer.

        modalities : of the series that are watched where there is no list of changes; None = all that we read
        """
        from segqa_dicom.archive.feed import WATCHED_MODALITIES, FolderFeed, feed_for
        from segqa_dicom.archive.folder import FolderArchive

        if isinstance(archive, FolderArchive):
            return FolderFeed(archive)
        settings = self.settings
        return feed_for(
            self.archive,
            user=settings.archive_user,
            password=settings.archive_password.get_secret_value(),
            timeout_s=settings.archive_timeout_s,
            modalities=modalities or WATCHED_MODALITIES,
        )

    def ruleset(self) -> RuleSet:
        """The rules; raises `ConfigurationError` if their file cannot be used."""
        if self.ruleset_file is None:
            return default_ruleset()
        rules = self._read_rules() if self.rules is None else self.rules
        return ruleset_from_toml(rules, self.ruleset_file)

    def with_rules(self) -> Setup:
        """The same with the rules read: processes that start later have the same, whatever the file says then."""
        return self if self.ruleset_file is None else replace(self, rules=self._read_rules())

    def _read_rules(self) -> str:
        try:
            return "" if self.ruleset_file is None else self.ruleset_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"rule set {self.ruleset_file} cannot be read: {error}") from error
