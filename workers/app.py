"""The Celery application: ``celery -A workers worker -Q assess,store``, ``celery -A workers beat``.

Archive, ledger and broker are given by SEGQA_ARCHIVE, SEGQA_LEDGER and SEGQA_BROKER, as to ``segqa serve``.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_process_init

from segqa_dicom.config import ServiceSettings, from_environment
from segqa_dicom.service import Setup
from segqa_dicom.service.broker import broker_url
from segqa_dicom.service.loops import prepare_worker
from workers.lines import install
from workers.settings import celery_settings

settings = from_environment(ServiceSettings)
setup = Setup.from_settings(settings).with_rules()
app = Celery("segqa", broker=broker_url(settings), include=["workers.tasks"])
app.conf.update(celery_settings(settings))


@setup_logging.connect  # type: ignore[untyped-decorator]
def log_lines(**_: Any) -> None:
    """One line per case, of ours; of Celery only what is wrong."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("segqa").setLevel(logging.INFO)
    install(logging.getLogger().handlers)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def prepare_child(**_: Any) -> None:
    """Before its first case a child imports and compiles what it needs, and gets its memory limit."""
    prepare_worker(setup)
