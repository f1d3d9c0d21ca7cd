"""Pages out of templates; what browsers may do with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from segqa_dicom import __version__
from segqa_dicom.web.pages.static import STATIC, static_version
from segqa_dicom.web.pages.viewer import root_path

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store", "Referrer-Policy": "same-origin"}
"""Of all pages: they show what is said about patients, so nobody keeps them. Without any referrer browsers would not
say where a form comes from either."""
VERDICTS = {"unusable": "Failed", "review": "Needs a look", "usable": "Passed", "": "Not checked"}
STATUSES = {"open": "Open", "draft": "Begun", "done": "Done, not signed", "signed": "Signed"}
_TITLES = {
    400: "That was not understood",
    401: "Who are you?",
    403: "Not from here",
    404: "Not there",
    409: "Somebody was faster",
    501: "This archive cannot do that",
    503: "Not just now",
}
_MENU = (
    ("/", "Worklist"),
    ("/sign", "Sign"),
    ("/adjudicate", "Adjudicate"),
    ("/agreement", "Agreement"),
    ("/rules", "Rules"),
    ("/status", "Status"),
)


def render(
    template: str,
    request: Request,
    *,
    status: int = 200,
    reader: str = "",
    counts: Sequence[tuple[str, int]] = (),
    **values: Any,
) -> Response:
    """A page of `layout.html`.

    reader : name of who asks
    counts : path of a page in the menu, and how much waits there
    values : of the template
    """
    has_pages = getattr(request.app.state, "pages", None) is not None
    waiting = dict(counts)
    menu = [(path, name, waiting.get(path, 0)) for path, name in _MENU if has_pages or path == "/status"]
    text = (
        _environment()
        .get_template(template)
        .render(root=root_path(request), menu=menu, here=request.url.path, reader=reader, **values)
    )
    return HTMLResponse(text, status, HEADERS)


def error_page(status: int, message: str, *, root: str = "") -> Response:
    """A page that says what is wrong."""
    title = _TITLES.get(status, "That did not work")
    text = _environment().get_template("error.html").render(root=root, status=status, title=title, message=message)
    return HTMLResponse(text, status, HEADERS)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("segqa_dicom.web", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals.update(
        static=f"{STATIC}/{static_version()}", version=__version__, VERDICTS=VERDICTS, STATUSES=STATUSES
    )
    environment.filters.update(number=number, seconds=seconds, many=many, sentence=sentence)
    return environment


def number(value: float | None, digits: int = 2) -> str | Markup:
    """A number for people; a dash where it is not defined."""
    if value is None or not math.isfinite(value):
        return Markup('<span title="not defined">–</span>')
    return f"{value:,.{digits}f}".replace(",", "\u202f").replace("-", "−")


def seconds(value: float) -> str:
    """A time for people."""
    return f"{value:.0f} s" if value < 100 else f"{value / 60:.0f} min"


def many(count: int, one: str, more: str = "") -> str:
    """A count with its noun."""
    return f"{count} {one if count == 1 else more or one + 's'}"


def sentence(text: str) -> str:
    """A message as a sentence."""
    return text[:1].upper() + text[1:].rstrip(".") + "."
