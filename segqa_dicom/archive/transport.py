"""HTTP to an archive: the session, translation of failures into `PeerError`, and all retries."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth

from segqa_dicom.errors import ConfigurationError, PeerRefused, PeerUnavailable

CONNECT_TIMEOUT_S = 5.0
CONNECTIONS = 16
"""Connections of the pool; further threads wait for one."""

_TRANSIENT = frozenset((408, 425, 429, 500, 502, 503, 504, 507))
"""Statuses after which the same request may succeed later, such as 507 for a full disk."""
_ADVICE = {
    401: "it wants a user name and password, or others: set SEGQA_ARCHIVE_USER and SEGQA_ARCHIVE_PASSWORD",
    403: "the user may not do this: give the user of SEGQA_ARCHIVE_USER the right to",
    404: "nothing is there: give the root of DICOMweb as the archive's URL, e.g. http://host:8042/dicom-web",
    405: "it does not offer this service: enable it, or give the root of DICOMweb as the archive's URL",
    413: "the request is larger than it, or a proxy before it, allows: raise that limit",
}

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Patience:
    """Retry policy for transient failures: exponential back-off with jitter.

    attempts : of one request, including the first
    deadline_s : latest start of an attempt after the first
    first_wait_s, longest_wait_s : waits double from the first to the longest; each is shortened at random by up to a
        half, so that workers do not retry at the same time
    """

    attempts: int = 5
    deadline_s: float = 60
    first_wait_s: float = 0.3
    longest_wait_s: float = 8

    def again(self, call: Callable[[], _T]) -> _T:
        """The result of `call`, repeated after `PeerUnavailable`, which the last attempt raises."""
        begin = time.monotonic()
        for attempt in range(1, self.attempts + 1):
            try:
                return call()
            except PeerUnavailable:
                wait_s = min(self.longest_wait_s, self.first_wait_s * 2 ** (attempt - 1))
                wait_s *= random.uniform(0.5, 1)  # noqa: S311 - spreads load, guards nothing
                if attempt == self.attempts or time.monotonic() + wait_s - begin > self.deadline_s:
                    raise
                time.sleep(wait_s)
        raise AssertionError


@dataclass(frozen=True, slots=True, repr=False)
class Peer:
    """An HTTP service with its session.

    url : root without a trailing slash
    timeout_s : read timeout
    """

    url: str
    session: requests.Session
    timeout_s: float

    @property
    def timeouts_s(self) -> tuple[float, float]:
        """Connect and read timeout for `requests`."""
        return min(CONNECT_TIMEOUT_S, self.timeout_s), self.timeout_s

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn exceptions of `requests` into `PeerUnavailable` (transient) or `PeerRefused` (permanent)."""
        try:
            yield
        except requests.HTTPError as error:
            self.check_status(error.response.status_code if error.response is not None else 0)
            raise PeerRefused(f"{self.url} answers in a way that is not HTTP") from error
        except requests.TooManyRedirects as error:
            if error.response is not None:
                error.response.close()
            raise PeerRefused(
                f"{self.url} redirects elsewhere, which is not followed: give the archive's final URL"
            ) from error
        except requests.exceptions.SSLError as error:
            raise PeerRefused(
                f"{self.url} cannot prove who it is: give its certificate authority in REQUESTS_CA_BUNDLE"
            ) from error
        except (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
            requests.exceptions.ContentDecodingError,
            urllib3.exceptions.HTTPError,  # some are not wrapped by `requests`
        ) as error:
            reason = "does not answer in time" if isinstance(error, requests.Timeout) else "cannot be reached"
            raise PeerUnavailable(f"{self.url} {reason} ({type(error).__name__})") from error
        except (requests.exceptions.JSONDecodeError, RecursionError) as error:
            raise PeerRefused(f"{self.url} does not answer with DICOM JSON: is it the root of DICOMweb?") from error
        except requests.RequestException as error:
            raise PeerRefused(f"{self.url} cannot be asked ({type(error).__name__}): check the URL") from error

    def json(self, method: str, path: str, body: Any = None, *, accept: str = "application/json") -> object:
        """The JSON answer to one request of a path with query; None if it is empty."""
        with self.translated():
            response = self.session.request(
                method, f"{self.url}{path}", json=body, headers={"Accept": accept}, timeout=self.timeouts_s
            )
            self.check_status(response.status_code)
            return response.json() if response.content else None

    def check_status(self, status: int) -> None:
        """Raise `PeerUnavailable` or `PeerRefused` unless a status is 2xx."""
        if status in _TRANSIENT:
            raise PeerUnavailable(f"{self.url} answers {status}: it is overloaded or starting; it is asked again later")
        if status >= 500:
            raise PeerUnavailable(f"{self.url} answers {status}: see its log")
        if status < 200 or status >= 300:
            advice = _ADVICE.get(status, "it does not accept this request: see its log")
            raise PeerRefused(f"{self.url} answers {status}: {advice}")


def peer_at(url: str, *, user: str = "", password: str = "", timeout_s: float = 300) -> Peer:
    """The service at `url`; credentials in the URL are removed from it, and used if `user` is empty.

    Raises `ConfigurationError` for an invalid URL.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError("the archive's URL is not valid; it looks like http://host:8042/dicom-web") from error
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigurationError("the archive's URL must look like http://host:8042/dicom-web")
    session = requests.Session()
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=CONNECTIONS, max_retries=0, pool_block=True)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    session.max_redirects = 0  # another host, or this one by another name, is the operator's choice
    session.headers["Accept-Encoding"] = "identity"
    user, password = (user, password) if user else (parts.username or "", parts.password or "")
    if user:
        session.auth = HTTPBasicAuth(user.encode(), password.encode())
    name = f"[{host}]" if ":" in host else host
    plain = urlunsplit((parts.scheme, f"{name}:{port}" if port else name, parts.path.rstrip("/"), "", ""))
    return Peer(plain, session, timeout_s)
