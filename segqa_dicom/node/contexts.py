"""Which SOP classes the node takes, in which transfer syntaxes, and the status codes it answers with."""

from __future__ import annotations

from enum import IntEnum

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.presentation import PresentationContext, build_context

from segqa_dicom import __version__
from segqa_dicom.dicom.transfer_syntaxes import DECODING_PLUGINS
from segqa_dicom.dicom.uids import stable_uid

VERIFICATION = "1.2.840.10008.1.1"
STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
IMAGE_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.2.1": "Enhanced CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.2.2": "Legacy Converted Enhanced CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.66.4": "Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
}
DOCUMENT_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.88.11": "Basic Text SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.22": "Enhanced SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.33": "Comprehensive SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.34": "Comprehensive 3D SR Storage",
    "1.2.840.10008.5.1.4.1.1.88.35": "Extensible SR Storage",
}
STORAGE_CLASSES = IMAGE_CLASSES | DOCUMENT_CLASSES
PLAIN_SYNTAXES = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
IMAGE_SYNTAXES = (*PLAIN_SYNTAXES, *DECODING_PLUGINS)
"""What is read. Not there on purpose: big endian (retired), and data sets that are deflated as a whole (bombs)."""

IMPLEMENTATION_CLASS_UID = stable_uid("implementation class")
IMPLEMENTATION_VERSION_NAME = f"SEGQA_{__version__}"[:16]


class Status(IntEnum):
    """Answers to C-STORE (PS3.4, section B.2.3; PS3.7, annex C)."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    OUT_OF_RESOURCES = 0xA700
    DATA_SET_DOES_NOT_MATCH = 0xA900
    CANNOT_UNDERSTAND = 0xC000


def supported_contexts() -> list[PresentationContext]:
    """All presentation contexts, for one association (pynetdicom keeps and changes them)."""
    plain = [build_context(uid, list(PLAIN_SYNTAXES)) for uid in (VERIFICATION, STORAGE_COMMITMENT, *DOCUMENT_CLASSES)]
    return plain + [build_context(uid, list(IMAGE_SYNTAXES)) for uid in IMAGE_CLASSES]
