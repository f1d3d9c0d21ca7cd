"""Proof that the rules work: known errors put into clean and real segmentations, and what the rules say about them."""

from segqa_dicom.selftest.catalogue import INJECTIONS
from segqa_dicom.selftest.injection import Injected, Injection, Subject
from segqa_dicom.selftest.run import Selftest, run_selftest

__all__ = ["INJECTIONS", "Injected", "Injection", "Selftest", "Subject", "run_selftest"]
