"""DICOM bytes and standards: elements, headers, transfer syntaxes, limits, UIDs, multipart, DICOM JSON."""
