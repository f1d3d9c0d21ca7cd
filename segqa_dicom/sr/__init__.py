"""`CaseReport` and `Review` to DICOM SR TID 1500.

One document per SEG with measurements and check outcomes (`report`), one per pair of SEGs (`compare`), one per SEG with
arrows on the CT (`keyimg`). Of a reader one document per SEG and reading (`review`), and one with markers on the CT if
something is located (`review_keyimg`). The same input gives the same bytes: those that highdicom and pydicom write for
the same tree in fifty to a hundred times the time. The tests build every document with both and compare.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path

from segqa_dicom.model import Code
from segqa_dicom.report.model import CaseReport
from segqa_dicom.sr import codes
from segqa_dicom.sr.kinds import MACHINE_KINDS, Kind
from segqa_dicom.sr.predecessors import EarlierDocument, documents_of, predecessors, read_earlier
from segqa_dicom.sr.write.compare import Mode, compare_document, pairs_to_write
from segqa_dicom.sr.write.document import MAX_GROUPS, Context, Document, case_key
from segqa_dicom.sr.write.evidence import Predecessor
from segqa_dicom.sr.write.header import SOP_CLASS_UID, is_own_sr
from segqa_dicom.sr.write.key_images import keyimg_document
from segqa_dicom.sr.write.report import report_document
from segqa_dicom.sr.write.review import as_written, build_review_documents

__all__ = [
    "MACHINE_KINDS",
    "MAX_GROUPS",
    "SOP_CLASS_UID",
    "Document",
    "EarlierDocument",
    "Kind",
    "Predecessor",
    "as_written",
    "build_documents",
    "build_review_documents",
    "case_key",
    "documents_of",
    "file_name",
    "is_own_sr",
    "predecessors",
    "read_earlier",
    "write",
]


def build_documents(
    report: CaseReport,
    *,
    rule_titles: Mapping[str, str],
    compare: Mode = "auto",
    reference: str | None = None,
    title: Code = codes.QA_REPORT,
    max_groups: int = MAX_GROUPS,
    predecessors: Mapping[tuple[Kind, tuple[str, ...]], Predecessor] | None = None,
) -> list[Document]:
    """All documents of a case: reports, comparisons, key findings.

    rule_titles : rule id -> title, for the names of the checks
    compare : "auto" = all pairs up to three SEGs, beyond that against one reference; "pairs" = all; "none"
    reference : SOP Instance UID of the SEG to compare with; ignored if it is not in this case
    title : of reports and comparisons; (126000,DCM) for receivers that insist on it, who then see nothing in OHIF
    predecessors : (kind, references) of a document -> the revision that it replaces
    """
    context = Context(report, rule_titles, title, max_groups, predecessors or {})
    pairs = pairs_to_write(report, compare, reference)
    documents = [
        *(report_document(context, segmentation) for segmentation in report.segmentations),
        *(compare_document(context, pair) for pair in pairs),
        *(keyimg_document(context, segmentation) for segmentation in report.segmentations),
    ]
    return [document for document in documents if document is not None]


def file_name(document: Document) -> str:
    """``report_2.25.123.dcm``."""
    return f"{document.kind}_{document.sop_instance_uid}.dcm"


def write(document: Document, path: str | os.PathLike[str]) -> None:
    """Write a document as a DICOM file; whoever looks finds the whole file or none."""
    target = Path(path)
    part = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        part.write_bytes(document.file)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
