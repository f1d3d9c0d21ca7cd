"""All settings of Celery, in one place, each with its reason.

What must not be lost is in the ledger: a message may be lost, doubled or late, and only costs time.
"""

from __future__ import annotations

from typing import Any

from segqa_dicom.config import ServiceSettings
from segqa_dicom.service.broker import ASSESS_QUEUE, DELIVER, STORE_QUEUE, SWEEP

_MARGIN_S = 100
"""So much later than its time limit a message that nobody acknowledged is sent again."""


def celery_settings(settings: ServiceSettings) -> dict[str, Any]:
    """For ``Celery.conf``. Raises nothing; `check` does."""
    limit_s = int(settings.case_time_limit_s)
    values: dict[str, Any] = {
        # A message is acknowledged after its work, also if the child that did it was killed: the ledger has counted the
        # attempt before, so that a case which kills its workers ends in quarantine and does not go round for ever.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        # Failures are in the ledger; the broker is not to send them again.
        "task_acks_on_failure": True,
        "task_acks_on_timeout": True,
        "task_time_limit": limit_s,
        "task_soft_time_limit": max(1, limit_s - 60),
        # Nobody reads results: they are in the ledger and in the archive.
        "result_backend": None,
        "task_ignore_result": True,
        # Never pickle: whoever can write to the broker could run what he likes.
        "task_serializer": "json",
        "accept_content": ["json"],
        # One case at a time, or a slow one would keep others waiting behind it.
        "worker_prefetch_multiplier": 1,
        "worker_max_tasks_per_child": 100,
        # A child compiles kernels before it says that it is up, minutes if it is the first one on this machine; by
        # default it would be killed after four seconds, and the next one, too.
        "worker_proc_alive_timeout": 600,
        "worker_max_memory_per_child": 1_500_000,  # KB; a child above it is replaced after its case
        # After SIGTERM a case may be finished; then its child ends and somebody else takes the case.
        "worker_soft_shutdown_timeout": settings.grace_s,
        "worker_enable_soft_shutdown_on_idle": False,
        "worker_hijack_root_logger": False,
        # Metrics come from the ledger; nothing is to be told by, or asked of, other workers.
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # Redis that is full refuses to write; by default a worker would end for that.
        "broker_channel_error_retry": True,
        "broker_transport_options": {
            # Longer than any task, or it would be run twice at a time.
            "visibility_timeout": limit_s + _MARGIN_S,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "socket_keepalive": True,
            "socket_connect_timeout": 5,
            "health_check_interval": 15,
        },
        "task_default_queue": ASSESS_QUEUE,
        "task_create_missing_queues": True,
        # Storing never waits behind computing where a worker is given that queue alone.
        "task_routes": {DELIVER: {"queue": STORE_QUEUE}, SWEEP: {"queue": STORE_QUEUE}},
        "beat_schedule": {"sweep": {"task": SWEEP, "schedule": settings.sweep_s, "options": {"expires": 60}}},
        "timezone": "UTC",
    }
    check(values)
    return values


def check(values: dict[str, Any]) -> None:
    """Raise `ValueError` if a task could be given to a second worker while the first one still may work on it."""
    if values["task_time_limit"] >= values["broker_transport_options"]["visibility_timeout"]:
        raise ValueError("task_time_limit must be below visibility_timeout")
