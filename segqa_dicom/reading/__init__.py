"""CT and SEG objects to `segqa_dicom.model`."""
