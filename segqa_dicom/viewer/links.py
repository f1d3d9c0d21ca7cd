"""URLs of the viewer."""

from __future__ import annotations

from urllib.parse import urlencode

VIEWER = "/ohif"
"""Path of the viewer and its study list."""


def study_link(study_instance_uid: str, *, root: str = "") -> str:
    """The URL of a study.

    root : prefix of the service's paths, from its public URL, without a trailing slash
    """
    return _link(root, StudyInstanceUIDs=study_instance_uid)


def document_link(study_instance_uid: str, series_instance_uid: str, *, root: str = "") -> str:
    """The URL of a study with one series on the screen: a document, a segmentation or a CT.

    Each document has its own series. `root` as for `study_link`.
    """
    return _link(root, StudyInstanceUIDs=study_instance_uid, initialSeriesInstanceUID=series_instance_uid)


def _link(root: str, **query: str) -> str:
    return f"{root}{VIEWER}/viewer?{urlencode(query)}"
