"""DICOMweb over a folder archive."""
