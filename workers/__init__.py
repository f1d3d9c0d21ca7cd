"""Celery workers of segqa: thin, because everything they do is in `segqa_dicom.service`."""

from workers.app import app

__all__ = ["app"]
