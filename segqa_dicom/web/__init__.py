"""The service's HTTP face: DICOMweb over a folder archive, health, metrics and a page that says what is running."""

from segqa_dicom.web.app import create_app
from segqa_dicom.web.serve import run_web
from segqa_dicom.web.state import LedgerSummary, SummaryOfLedger
from segqa_dicom.web.stow_json import PART_PREFIX

__all__ = ["PART_PREFIX", "LedgerSummary", "SummaryOfLedger", "create_app", "run_web"]
