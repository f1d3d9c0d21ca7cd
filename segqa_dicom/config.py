"""Settings from the environment (``SEGQA_...``), read once by whoever starts a process and passed down as arguments."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from segqa_dicom.dicom.limits import Limits
from segqa_dicom.errors import ConfigurationError

_DEFAULT = Limits()
_Kind = TypeVar("_Kind", bound=BaseSettings)


def from_environment(kind: type[_Kind]) -> _Kind:
    """Settings as the environment has them; raises `ConfigurationError`, naming every variable that is wrong."""
    try:
        return kind()
    except ValidationError as error:
        problems = "; ".join(f"SEGQA_{str(one['loc'][0]).upper()}: {one['msg']}" for one in error.errors())
        raise ConfigurationError(f"wrong settings in the environment: {problems}") from error


class Settings(BaseSettings):
    """What an operator may set; every field says its unit and why one would change it."""

    model_config = SettingsConfigDict(env_prefix="SEGQA_", frozen=True, extra="forbid")

    max_file_bytes: int = Field(_DEFAULT.max_file_bytes, gt=0, description="Files above this size are refused unread.")
    max_inflated_bytes: int = Field(
        _DEFAULT.max_inflated_bytes, gt=0, description="Deflated objects that inflate to more are refused."
    )
    max_voxels: int = Field(_DEFAULT.max_voxels, gt=0, description="CT series and SEG grids above it are refused.")
    max_frames: int = Field(_DEFAULT.max_frames, gt=0, description="Objects with more frames are refused.")
    max_pictures: int = Field(40, ge=0, description="Pictures per case on the HTML page; each has 50 to 300 kB.")
    report_title: Literal["QAREPORT", "126000"] = Field(
        "QAREPORT",
        description="Document title of report and compare: QAREPORT = (QAREPORT, 99SEGQA), which OHIF shows as text; "
        "126000 = (126000, DCM, Imaging Measurement Report) for receivers that insist on it.",
    )

    def limits(self) -> Limits:
        """The limits for reading."""
        return Limits(
            max_file_bytes=self.max_file_bytes,
            max_inflated_bytes=self.max_inflated_bytes,
            max_voxels=self.max_voxels,
            max_frames=self.max_frames,
        )


def _secrets_folder() -> Path | None:
    """Where each file is a setting: /run/secrets in containers, or what SEGQA_SECRETS_DIR names."""
    folder = Path(os.environ.get("SEGQA_SECRETS_DIR", "/run/secrets"))
    return folder if folder.is_dir() else None


class ServiceSettings(BaseSettings):
    """What an operator of the service may set beside the options of ``segqa serve``."""

    model_config = SettingsConfigDict(env_prefix="SEGQA_", frozen=True, extra="forbid", secrets_dir=_secrets_folder())

    archive: str = Field("./segqa-archive", description="Default of `--archive`: a folder, or the URL of DICOMweb.")
    ledger: str = Field("", description="Default of `--ledger`: SQLAlchemy URL; empty = SQLite in the data folder.")
    data: str = Field("", description="Folder of inbox and ledger; empty = the archive's folder, else ./segqa-data.")
    ruleset: str = Field(
        "",
        description="TOML with rule parameters to change, read once at the start; the same for `segqa serve`, `segqa "
        "reconcile` and Celery workers, because a case is reviewed only by who has the rules that it was opened for.",
    )
    broker: str = Field("", description="URL of Redis; with it cases go to Celery workers, and `--workers` is 0.")
    archive_user: str = Field("", description="User name for the DICOMweb archive.")
    archive_password: SecretStr = Field(SecretStr(""), description="Its password.")
    ledger_password: SecretStr = Field(SecretStr(""), description="Password that `--ledger` leaves out of its URL.")
    broker_password: SecretStr = Field(SecretStr(""), description="Password that the broker's URL leaves out.")

    public_url: str = Field(
        "",
        pattern=r"^(https?://[^\s?#]+)?$",
        description="Where clients reach the service, e.g. https://qa.example.org/segqa; URLs in answers begin with it."
        " Needed behind a proxy; empty = by the Host header. X-Forwarded-* headers are never believed.",
    )
    viewer: str = Field(
        "",
        description="Folder that `segqa viewer install --to` was given; empty = `viewer` in the data folder.",
    )
    operator_token: SecretStr = Field(
        SecretStr(""),
        description="Who sends it (Authorization: Bearer ...) may delete by DICOMweb; empty = nobody may.",
    )

    allowed_ae: str = Field(
        "",
        description="AE titles that may open an association, by commas, each as TITLE, TITLE@HOST (only from there) or "
        "TITLE@HOST:PORT (storage commitment is reported there); empty = any.",
    )
    max_associations: int = Field(64, ge=1, description="Associations at a time.")
    max_associations_per_address: int = Field(8, ge=1, description="Associations at a time from one address.")
    min_free_bytes: int = Field(
        5_000_000_000, ge=0, description="Below this much free disk the node answers A700H (out of resources)."
    )
    acse_timeout_s: float = Field(30, gt=0, description="Wait for the parts of an association request.")
    network_timeout_s: float = Field(60, gt=0, description="An association without a message for so long is ended.")
    read_deadline_s: float = Field(10, gt=0, description="A PDU whose bytes take longer ends the connection.")

    debounce_s: float = Field(5, ge=0, description="Quiet time on a CT and its SEGs before they are reviewed.")
    deadline_s: float = Field(
        86_400, gt=0, description="A SEG whose images have not all arrived by then is reviewed with those that have."
    )
    lease_s: float = Field(45, gt=0, description="A case whose worker has not been heard of for so long is free again.")
    max_attempts: int = Field(3, ge=1, description="A case that failed so often is put into quarantine.")
    sweep_s: float = Field(30, gt=0, description="Distance of the sweeps that repair whatever was lost.")
    poll_s: float = Field(1, gt=0, description="Distance of questions to the archive's change feed.")
    case_time_limit_s: float = Field(900, gt=0, description="A review that takes longer is ended.")
    grace_s: float = Field(
        60, gt=0, description="Time for a worker to finish its case after SIGTERM; then the case is handed back."
    )
    case_memory_bytes: int = Field(
        8_000_000_000, ge=0, description="Address space of a worker; a case that needs more fails. 0 = no limit."
    )
    archive_timeout_s: float = Field(300, gt=0, description="An answer of the archive that takes longer is given up.")

    reviewer: str = Field(
        "",
        max_length=64,
        description="Who reviews where no proxy says it: login of the one local user; empty = the user of this system.",
    )
    reviewer_organization: str = Field("", max_length=64, description="Organization of the readers, for documents.")
    user_header: str = Field(
        "",
        pattern=r"^[A-Za-z0-9-]*$",
        description="HTTP header in which a proxy that has authenticated the reader says the login, e.g. "
        "X-Forwarded-User; needs `SEGQA_PROXY_TOKEN`. Empty = everybody is the local user.",
    )
    user_name_header: str = Field(
        "", pattern=r"^[A-Za-z0-9-]*$", description="Header with the reader's name; empty = the login is the name."
    )
    proxy_token: SecretStr = Field(
        SecretStr(""),
        description="What the proxy sends as `X-Segqa-Proxy-Token`; without it the two headers are not believed.",
    )
    adjudicators: str = Field("", description="Logins, by commas, of those who decide where readers differ.")
    blind: bool = Field(
        default=True,
        description="Readers do not see what others said; only adjudicators do, where they are to decide.",
    )
    picture_memory_bytes: int = Field(
        1_500_000_000, gt=0, description="Memory for CT series and SEGs that are open on review pages."
    )
