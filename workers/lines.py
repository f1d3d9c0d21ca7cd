"""What Celery's log may say about a broker that is away: one line when it goes, one when it is back."""

from __future__ import annotations

import json
import logging

from celery.beat import SchedulingError

_TRIED = (
    "consumer: Connection to broker lost",
    "consumer: Cannot connect to",
    "beat: Connection error",
    "Frequent restarts detected",
)
"""How Celery's lines begin that come with each attempt to reach the broker."""
_REACHED = {"celery.worker.consumer.connection": "Connected to", "celery.beat": "%s sent"}
"""Loggers, and how their lines begin that tell that the broker answers; below the level that is shown."""


class BrokerLines(logging.Filter):
    """For a handler: of Celery's lines about the broker, lets pass those only that tell a change, as events of ours."""

    def __init__(self) -> None:
        super().__init__()
        self._is_lost = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to write a line; changes those that are written."""
        if not record.name.startswith("celery"):
            # That cases go on without the broker is as it should be; at each loss Celery says that this may change.
            return not (record.name == "py.warnings" and "CPendingDeprecationWarning" in record.getMessage())
        if _is_loss(record):
            is_news, self._is_lost = not self._is_lost, True
            return is_news and _becomes(record, "broker lost")
        if _is_reached(record):
            is_news, self._is_lost = self._is_lost, False
            return is_news and _becomes(record, "broker works again")
        return record.levelno >= logging.WARNING


def install(handlers: list[logging.Handler]) -> None:
    """Let all lines of `handlers` pass through one filter."""
    lines = BrokerLines()
    for handler in handlers:
        handler.addFilter(lines)
    for name in _REACHED:
        logging.getLogger(name).setLevel(logging.DEBUG)


def _is_loss(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return isinstance(error, SchedulingError) or record.getMessage().startswith(_TRIED)


def _is_reached(record: logging.LogRecord) -> bool:
    start = _REACHED.get(record.name)
    return start is not None and str(record.msg).startswith(start)


def _becomes(record: logging.LogRecord, event: str) -> bool:
    record.msg, record.args, record.exc_info, record.exc_text = json.dumps({"event": event}), None, None, None
    return True
