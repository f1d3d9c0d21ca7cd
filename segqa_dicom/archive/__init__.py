"""Where the images live: one small protocol, a folder, and DICOMweb."""

from segqa_dicom.archive.base import Archive, Content, Header, Instance, Outcome, Outgoing, Series, Stored

__all__ = ["Archive", "Content", "Header", "Instance", "Outcome", "Outgoing", "Series", "Stored"]
