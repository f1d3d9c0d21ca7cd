"""Which SOP classes the node takes, in which transfer syntaxes, and the status codes it answers with."""

from __future__ import annotations

from enum import IntEnum

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.presentation import PresentationContext, build_context

from segqa_dicom import __version__
from segqa_dicom.dicom.sop_classes import CT_CLASSES, GENERAL_SR_CLASSES, SEG_CLASSES, STORAGE_COMMITMENT, VERIFICATION
from segqa_dicom.dicom.transfer_syntaxes import COMPRESSIONS
from segqa_dicom.dicom.uids import stable_uid

IMAGE_CLASSES = sorted(CT_CLASSES | SEG_CLASSES)
DOCUMENT_CLASSES = sorted(GENERAL_SR_CLASSES)
STORAGE_CLASSES = [*IMAGE_CLASSES, *DOCUMENT_CLASSES]
PLAIN_SYNTAXES = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
IMAGE_SYNTAXES = (*PLAIN_SYNTAXES, *COMPRESSIONS)
"""What is read. Not there on purpose: big endian (retired), and data sets that are deflated as a whole (bombs)."""

IMPLEMENTATION_CLASS_UID = stable_uid("implementation class")
IMPLEMENTATION_VERSION_NAME = f"SEGQA_{__version__}"[:16]


TESTED_PYNETDICOM = ("3.0.4",)
"""Versions of pynetdicom whose internals the guards (`node.guards`) were tested with."""


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
