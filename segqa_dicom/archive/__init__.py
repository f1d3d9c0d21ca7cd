"""DICOM archives: the protocol, a folder on disk, and DICOMweb."""

from segqa_dicom.archive.base import Archive, Content, Header, Instance, Outcome, Outgoing, Series, Stored

__all__ = ["Archive", "Content", "Header", "Instance", "Outcome", "Outgoing", "Series", "Stored"]
