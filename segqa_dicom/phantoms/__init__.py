"""Analytic test volumes with known truth, errors to inject, and their DICOM objects."""
