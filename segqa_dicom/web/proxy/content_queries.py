"""QIDO-RS about content where the archive has a DICOMweb of its own: our index says which, the archive tells of them.

Other servers leave out conditions inside sequences, or answer with everything; so they are never asked such a thing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from segqa_dicom.archive.transport import Peer
from segqa_dicom.findings.query import is_content_key
from segqa_dicom.web.api.findings import REFERENCES, add_references, among
from segqa_dicom.web.dicomweb.media import DICOM_JSON
from segqa_dicom.web.dicomweb.qido import json_response
from segqa_dicom.web.problems import Problem
from segqa_dicom.web.state import root_of

_AT_ONCE = 50
"""UIDs in one question to the archive: its URL must not become too long."""
_MOST = 5_000
_INSTANCES = re.compile(r"(/studies/[0-9.]+(/series/[0-9.]+)?)?/instances")
_STUDY, _SERIES, _INSTANCE, _RETRIEVE_URL = "0020000D", "0020000E", "00080018", "00081190"
_OWN = ("limit", "offset", "fuzzymatching")


def asks_for_content(request: Request) -> bool:
    """Whether a question is about what documents say or refer to."""
    return request.method == "GET" and any(is_content_key(name) for name in request.query_params)


async def search_content(request: Request, path: str, peer: Peer, plain: Callable[[str], str]) -> Response:
    """Answer such a question.

    plain : makes a query one that the archive understands
    """
    if not _INSTANCES.fullmatch(path):
        raise Problem(400, "what documents say and refer to is asked for at the level of instances")
    given = request.query_params.multi_items()
    limit, offset = (_number(request, name, default) for name, default in (("limit", _MOST), ("offset", 0)))
    uids = await among(request, [one for one in given if is_content_key(one[0])]) or []
    includes = [part for name, value in given if name == "includefield" for part in value.split(",")]
    others = [one for one in given if not is_content_key(one[0]) and one[0] not in (*_OWN, "includefield")]
    others += [("includefield", part) for part in includes if part != REFERENCES]
    named = {
        uid for name, value in others if name in ("SOPInstanceUID", _INSTANCE) for uid in re.split(r"[,\\]", value)
    }
    others = [one for one in others if one[0] not in ("SOPInstanceUID", _INSTANCE)]
    wanted = sorted(uid for uid in uids if not named or uid in named)
    rows = await run_in_threadpool(_rows, peer, path, others, wanted, plain)
    found = rows[offset : offset + min(limit, _MOST)]
    if REFERENCES in includes:
        await add_references(request, found)
    root = root_of(request)
    for row in found:
        study, series, instance = (row[tag]["Value"][0] for tag in (_STUDY, _SERIES, _INSTANCE))
        url = f"{root}/studies/{study}/series/{series}/instances/{instance}"
        row[_RETRIEVE_URL] = {"vr": "UR", "Value": [url]}
    body = json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode()
    return await json_response(request, lambda: iter([body]), DICOM_JSON, {})


def _rows(
    peer: Peer,
    path: str,
    others: Sequence[tuple[str, str]],
    wanted: Sequence[str],
    plain: Callable[[str], str],
) -> list[dict[str, Any]]:
    """What the archive tells of those instances that the other conditions hold for, too."""
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        query = plain(urlencode([*others, ("SOPInstanceUID", ",".join(some)), ("limit", str(_AT_ONCE * 2))]))
        answer = peer.json("GET", f"{path}?{query}", accept=DICOM_JSON)
        for row in answer if isinstance(answer, list) else ():
            if _is_whole(row) and (uid := str(row[_INSTANCE]["Value"][0])) in some:
                found[uid] = row
    return [found[uid] for uid in sorted(found)]


def _is_whole(row: object) -> bool:
    return isinstance(row, dict) and all(row.get(tag, {}).get("Value") for tag in (_STUDY, _SERIES, _INSTANCE))


def _number(request: Request, name: str, default: int) -> int:
    value = request.query_params.get(name, str(default))
    if not (value.isascii() and value.isdecimal() and len(value) < 10):
        raise Problem(400, f"{name} is no whole number")
    return int(value)
