"""Addresses within the viewer."""

from __future__ import annotations

from urllib.parse import urlencode

VIEWER = "/ohif"
"""Where the viewer begins; its list of studies is there."""


def study_link(study_instance_uid: str, *, root: str = "") -> str:
    """The address that opens a study.

    root : what the service's paths begin with, as its public URL says; without a slash at the end
    """
    return _link(root, StudyInstanceUIDs=study_instance_uid)


def document_link(study_instance_uid: str, series_instance_uid: str, *, root: str = "") -> str:
    """The address that opens a study with one series on the screen: a document, a segmentation, a CT.

    Each document is a series of its own, so the series names it. `root` as for `study_link`.
    """
    return _link(root, StudyInstanceUIDs=study_instance_uid, initialSeriesInstanceUID=series_instance_uid)


def _link(root: str, **query: str) -> str:
    return f"{root}{VIEWER}/viewer?{urlencode(query)}"
