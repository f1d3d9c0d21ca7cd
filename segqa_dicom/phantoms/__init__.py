"""Analytic test volumes with known truth, errors to inject, and their DICOM objects."""

from segqa_dicom.phantoms.demo import demo_study
from segqa_dicom.phantoms.dicom import write_ct, write_seg
from segqa_dicom.phantoms.structures import PhantomStructure
from segqa_dicom.phantoms.torso import Phantom, torso

__all__ = ["Phantom", "PhantomStructure", "demo_study", "torso", "write_ct", "write_seg"]
