"""Who asks: the local user, or whom the proxy names.

`Identify` is the place for another way, such as OpenID Connect in the service itself.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import TypeAlias

from starlette.requests import Request

from segqa_dicom.assessment.model import Reviewer
from segqa_dicom.config import ServiceSettings
from segqa_dicom.errors import ConfigurationError
from segqa_dicom.web.problems import Problem

Identify: TypeAlias = Callable[[Request], Reviewer]
"""Gives the reader who makes a request; raises `Problem` 401 if nobody does."""

_LONGEST = 64
"""Of LO and of a component group of PN (PS3.5, section 6.2)."""


def identify_by(service: ServiceSettings) -> Identify:
    """What the settings say; raises `ConfigurationError` if a header would be believed from anybody."""
    if not service.user_header:
        login = _checked(service.reviewer or _user_of_system())
        local = Reviewer(login, person_name(login), service.reviewer_organization)
        return lambda _: local
    if not service.proxy_token.get_secret_value():
        raise ConfigurationError("SEGQA_USER_HEADER needs SEGQA_PROXY_TOKEN: else anybody could say who they are")

    def named_by_proxy(request: Request) -> Reviewer:
        login = _checked(_header(request, service.user_header))
        if not login:
            raise Problem(401, "nobody is signed in: the proxy has not said who you are")
        name = _header(request, service.user_name_header) if service.user_name_header else ""
        return Reviewer(login, person_name(name or login), service.reviewer_organization)

    return named_by_proxy


def adjudicators_of(service: ServiceSettings) -> frozenset[str]:
    """Logins of those who decide between readers."""
    return frozenset(one.strip() for one in service.adjudicators.split(",") if one.strip())


def _user_of_system() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "reader"


def person_name(name: str) -> str:
    """A name as DICOM writes it: ``Doe^Jane`` of "Jane Doe" and of "Doe, Jane"."""
    text = _checked(name)
    if "^" in text:
        return text
    if "," in text:
        return "^".join(part.strip() for part in text.split(",", 1))
    given, _, family = text.rpartition(" ")
    return f"{family}^{given.strip()}"


def shown_name(name: str) -> str:
    """A person name for people: "Jane Doe"."""
    family, _, given = name.partition("^")
    return " ".join(part for part in (given.replace("^", " ").strip(), family) if part)


def _checked(text: str) -> str:
    text = " ".join(text.split())
    if len(text) > _LONGEST or not text.isprintable() or set(text) & set("\\="):
        raise Problem(400, f"names of readers have at most {_LONGEST} characters, none of them \\ or =")
    return text


def _header(request: Request, name: str) -> str:
    """The value of a header; proxies send UTF-8, which HTTP knows as octets only."""
    raw = request.headers.get(name, "").encode("latin-1", "replace")
    return raw.decode("utf-8", "replace").strip()
