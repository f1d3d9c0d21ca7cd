"""The only place that turns DICOM CT and SEG bytes into `segqa_dicom.model`."""
