"""Settings from the environment (``SEGQA_...``), read once by whoever starts a process and passed down as arguments."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from segqa_dicom.reading.limits import Limits

_DEFAULT = Limits()


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
