"""QIDO-RS: searching for studies, series and instances (PS3.18, section 10.6)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from segqa_dicom.archive.folder_keys import Level
from segqa_dicom.archive.folder_search import Question, UnsupportedQuestion, known_attribute, unknown_to_index
from segqa_dicom.dicom.uids import normalised_uid
from segqa_dicom.errors import Inconsistent
from segqa_dicom.findings.query import is_content_key
from segqa_dicom.web.api.findings import REFERENCES, add_references, among
from segqa_dicom.web.dicomweb.media import DICOM_JSON, accepts_gzip, accepts_json
from segqa_dicom.web.problems import Problem
from segqa_dicom.web.state import root_of, state_of

MAX_RESULTS = 5000
"""Answers to one question; who asks is told how to get the others."""
_NO_MORE = (
    '299 segqa "The number of results exceeded the maximum supported by the server. Additional results can be'
    ' requested."'
)
_RETRIEVE_URL, _AVAILABILITY = "00081190", "00080056"
_UID_TAGS = {"studies": "0020000D", "series": "0020000E", "instances": "00080018"}


@dataclass(slots=True)
class _Parameters:
    matches: list[tuple[str, str]] = field(default_factory=list)
    content: list[tuple[str, str]] = field(default_factory=list)
    include: list[str] = field(default_factory=list)
    limit: int | None = None
    offset: int = 0
    is_fuzzy: bool = False


def search(level: Level) -> Callable[[Request], Any]:
    """The handler of questions for a level."""

    async def handler(request: Request) -> Response:
        return await _search(level, request)

    return handler


async def _search(level: Level, request: Request) -> Response:
    archive = state_of(request).folder_archive
    name = accepts_json(request)
    if not name:
        raise Problem(406, f"answers to questions are {DICOM_JSON}")
    given = _parameters(request)
    has_references = level is Level.INSTANCE and REFERENCES in given.include
    if given.content and level is not Level.INSTANCE:
        raise Problem(400, "what documents say and refer to is asked for at the level of instances")
    limit = MAX_RESULTS if given.limit is None else min(given.limit, MAX_RESULTS)
    question = Question(
        level,
        given.matches,
        uid_in_path(request, "study"),
        uid_in_path(request, "series"),
        [one for one in given.include if not (has_references and one == REFERENCES)],
        limit + 1,  # one more tells whether there are more
        given.offset,
        is_fuzzy=given.is_fuzzy,
        among=await among(request, given.content),
    )
    found = await run_in_threadpool(archive.search, question)
    headers = {}
    if len(found) > limit:
        found.pop()
        if given.limit is None or given.limit > limit:
            headers["Warning"] = _NO_MORE
    elif ignored := unknown_to_index(question):
        headers["Warning"] = f'299 segqa "not kept in the index, and left out: {", ".join(ignored)}"'
    if has_references:
        await add_references(request, found)
    root = root_of(request)
    body = partial(_body, found, level, root)
    return await json_response(request, body, name, headers)


def _body(found: list[dict[str, Any]], level: Level, root: str) -> Iterator[bytes]:
    for one in found:
        one[_RETRIEVE_URL] = {"vr": "UR", "Value": [_retrieve_url(one, level, root)]}
        if level is not Level.SERIES:
            one[_AVAILABILITY] = {"vr": "CS", "Value": ["ONLINE"]}
    yield json.dumps([dict(sorted(one.items())) for one in found], separators=(",", ":"), ensure_ascii=False).encode()


def _retrieve_url(one: dict[str, Any], level: Level, root: str) -> str:
    parts = {Level.STUDY: 1, Level.SERIES: 2, Level.INSTANCE: 3}[level]
    return root + "".join(f"/{name}/{one[tag]['Value'][0]}" for name, tag in list(_UID_TAGS.items())[:parts])


async def json_response(
    request: Request, pieces: Callable[[], Iterator[bytes]], name: str, headers: dict[str, str]
) -> Response:
    """An answer in DICOM JSON, compressed if that is accepted."""
    is_compressed = accepts_gzip(request)
    body = await run_in_threadpool(lambda: b"".join(gzipped(pieces()) if is_compressed else pieces()))
    headers |= {"Content-Type": name, "Vary": "Accept, Accept-Encoding"}
    if is_compressed:
        headers["Content-Encoding"] = "gzip"
    return Response(body, headers=headers)


def gzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Pieces of a body, compressed: fast rather than small."""
    compressor = zlib.compressobj(1, wbits=16 + zlib.MAX_WBITS)
    for piece in pieces:
        if compressed := compressor.compress(piece):
            yield compressed
    yield compressor.flush()


def uid_in_path(request: Request, name: str) -> str:
    """A UID of the path, empty if the path has none of that name; raises `Problem` 400 for what is no UID."""
    if name not in request.path_params:
        return ""
    try:
        return normalised_uid(request.path_params[name], what=f"the {name} in the path")
    except Inconsistent as error:
        raise Problem(400, str(error)) from error


def _parameters(request: Request) -> _Parameters:
    found = _Parameters()
    for name, value in request.query_params.multi_items():
        if name == "limit":
            found.limit = _number(name, value)
        elif name == "offset":
            found.offset = _number(name, value)
        elif name == "fuzzymatching":
            found.is_fuzzy = _truth(name, value)
        elif name == "includefield":
            found.include += ["all" if one == "all" else known_attribute(one) for one in value.split(",") if one]
        elif is_content_key(name):
            found.content.append((name, value))
        elif name != "accept":
            found.matches.append((known_attribute(name), value))
    names = [name for name, _ in (*found.matches, *found.content)]
    for name in names:
        if names.count(name) > 1:
            raise UnsupportedQuestion(f"{name} is asked for twice; give alternatives in one value, by commas")
    return found


def _number(name: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) < 10):
        raise Problem(400, f"{name} is no whole number")
    return int(value)


def _truth(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise Problem(400, f"{name} is neither true nor false")
    return value.lower() == "true"
