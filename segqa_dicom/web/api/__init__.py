"""JSON interfaces beside DICOMweb."""
