"""segqa: quality assurance of CT segmentations, from DICOM SEG to DICOM SR."""

__version__ = "0.1.0"
