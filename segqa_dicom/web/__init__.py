"""The service's HTTP face: DICOMweb over a folder archive, pages of readers, health, metrics."""

from segqa_dicom.web.app import create_app
from segqa_dicom.web.dicomweb.stow_json import PART_PREFIX
from segqa_dicom.web.pages.state import Readers
from segqa_dicom.web.serve import run_web
from segqa_dicom.web.state import LedgerSummary, SummaryOfLedger

__all__ = ["PART_PREFIX", "LedgerSummary", "Readers", "SummaryOfLedger", "create_app", "run_web"]
