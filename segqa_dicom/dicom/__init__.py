"""DICOM encoding: data elements, file headers, UIDs, transfer syntaxes, limits, multipart bodies, DICOM JSON."""
