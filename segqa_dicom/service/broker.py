"""Sending cases to Celery workers: a message is the id of a case and nothing else, and losing one is harmless."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from segqa_dicom.config import ServiceSettings
from segqa_dicom.errors import PeerUnavailable
from segqa_dicom.ledger import CaseState, Ledger

ASSESS, DELIVER, SWEEP = "workers.tasks.assess", "workers.tasks.deliver", "workers.tasks.sweep"
ASSESS_QUEUE, STORE_QUEUE = "assess", "store"
WINDOW = 32
"""Messages in the broker at most; the other cases wait in the ledger, where nothing can lose them."""
_DELIVERING = (CaseState.STORING, CaseState.STORED)


def broker_url(settings: ServiceSettings) -> str:
    """The URL of the broker with its password, which is kept apart from it."""
    password = settings.broker_password.get_secret_value()
    parts = urlsplit(settings.broker)
    if not password or "@" in parts.netloc:
        return settings.broker
    return urlunsplit(parts._replace(netloc=f":{quote(password, safe='')}@{parts.netloc}"))


class Broker:
    """Sends messages to Redis."""

    def __init__(self, settings: ServiceSettings) -> None:
        from celery import Celery

        self._resend_after_s = settings.sweep_s
        self._app: Any = Celery("segqa", broker=broker_url(settings))
        self._app.conf.broker_connection_retry = False
        # Whoever feeds has other things to do: one attempt, and a short one. The next is as good.
        self._app.conf.broker_transport_options = {
            "socket_timeout": 2,
            "socket_connect_timeout": 2,
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0,
        }

    def feed(self, ledger: Ledger, *, now: float) -> int:
        """Send what can be worked on and was not sent of late; returns how many.

        Raises `PeerUnavailable` if the broker does not answer, or is full; the ledger keeps the cases.
        """
        from kombu.exceptions import KombuError
        from redis.exceptions import RedisError

        try:
            with self._app.connection_for_write() as connection:
                room = WINDOW - self._length(connection)
                case_ids = ledger.sendable(now, room, self._resend_after_s) if room > 0 else []
                for case_id in case_ids:
                    self._send(connection, case_id, ledger.case(case_id).state)
        except (KombuError, RedisError, OSError) as error:
            raise PeerUnavailable(f"the broker does not take messages ({type(error).__name__})") from error
        if case_ids:
            ledger.queued(case_ids, now=now)
        return len(case_ids)

    def close(self) -> None:
        """Close connections."""
        self._app.close()

    def _length(self, connection: Any) -> int:
        channel = connection.default_channel
        return sum(int(channel.client.llen(queue)) for queue in (ASSESS_QUEUE, STORE_QUEUE))

    def _send(self, connection: Any, case_id: str, state: CaseState) -> None:
        name, queue = (DELIVER, STORE_QUEUE) if state in _DELIVERING else (ASSESS, ASSESS_QUEUE)
        self._app.send_task(name, args=[case_id], queue=queue, connection=connection, ignore_result=True)
