"""Reviewed cases in an archive, with what the machine's documents were made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.checks import default_ruleset
from segqa_dicom.checks.registry import rule_titles
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.findings import FILE_NAME, FindingsIndex, reindex
from segqa_dicom.model import Case
from segqa_dicom.pipeline import review
from segqa_dicom.reading.case import read_case
from segqa_dicom.reading.grouping import group
from segqa_dicom.reading.scan import scan
from segqa_dicom.report.model import CaseReport, SegmentationReport
from segqa_dicom.sr import Document, build_documents
from tests.reviews.office import outgoing


@dataclass(frozen=True)
class ReviewedCase:
    """A case, the report on it, and where both are stored."""

    case: Case
    report: CaseReport
    documents: list[Document]
    index: FindingsIndex
    archive: FolderArchive
    folder: Path

    def segmentation(self, name: str) -> SegmentationReport:
        return next(one for one in self.report.segmentations if one.record.series_description.startswith(name))


def reviewed_case(dicom: Path, folder: Path, *, is_stored: bool = True) -> ReviewedCase:
    """Review the one case in a folder of CT and SEG files.

    is_stored : CT and SEGs are in the archive, too; else only the documents
    """
    limits = Limits()
    headers, _ = scan([dicom], limits)
    (files,) = group(headers, limits)[0]
    case, _ = read_case(files, limits)
    assert case is not None
    report = review(case, default_ruleset())
    documents = build_documents(report, rule_titles=rule_titles())
    folder.mkdir(exist_ok=True)
    archive = FolderArchive(folder)
    images = sorted(dicom.rglob("*.dcm")) if is_stored else []
    archive.store(outgoing([*images, *(one.file for one in documents)]))
    index = FindingsIndex(folder / FILE_NAME)
    reindex(index, archive)
    return ReviewedCase(case, report, documents, index, archive, folder)
