"""DICOMweb of an archive server, forwarded."""
