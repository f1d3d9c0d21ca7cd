"""OHIF as the viewer of the service: installation of its package, and its configuration.

OHIF is not part of this program. `install` takes its package from npm or from a file, checks its digest, and unpacks
the files that the web process serves.
"""

from segqa_dicom.viewer.configuration import app_config
from segqa_dicom.viewer.install import Installed, find_installed, folder_of, install
from segqa_dicom.viewer.links import VIEWER, document_link, study_link
from segqa_dicom.viewer.package import NAME, VERSION

__all__ = [
    "NAME",
    "VERSION",
    "VIEWER",
    "Installed",
    "app_config",
    "document_link",
    "find_installed",
    "folder_of",
    "install",
    "study_link",
]
