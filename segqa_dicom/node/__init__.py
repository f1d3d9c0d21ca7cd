"""Our DICOM node."""
