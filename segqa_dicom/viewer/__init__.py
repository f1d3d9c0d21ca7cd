"""OHIF as the viewer of the service: taking its package apart, and the configuration that it gets.

Nothing of OHIF is part of this program. `install` takes the package that npm has, or a file, checks that it is the one
that was tried, and puts its files where the web process serves them from.
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
