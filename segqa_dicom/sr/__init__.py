"""`CaseReport` to DICOM SR TID 1500; the only place that imports `highdicom.sr`."""
