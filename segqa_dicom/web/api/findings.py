"""What documents say: `/api/findings`, and the part of QIDO-RS that asks about content."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from segqa_dicom.findings import FindingsIndex
from segqa_dicom.findings.export import csv_parts
from segqa_dicom.findings.filters import parsed_filters
from segqa_dicom.findings.listing import as_json, find
from segqa_dicom.findings.query import matching_documents, references_of
from segqa_dicom.web.problems import Problem
from segqa_dicom.web.state import state_of

MOST_ROWS = 10_000
"""Findings in one answer."""
DEFAULT_ROWS = 100
REFERENCES = "ReferencedSOPSequence"
_REFERENCES_TAG = "00081199"
_OWN_PARAMETERS = ("limit", "offset", "format")


async def findings(request: Request) -> Response:
    """Findings as rows: JSON, or CSV with ``format=csv``; see `findings.listing`."""
    given = request.query_params.multi_items()
    own = {name: value for name, value in given if name in _OWN_PARAMETERS}
    filters = parsed_filters([one for one in given if one[0] not in _OWN_PARAMETERS])
    limit, offset = _number(own, "limit", DEFAULT_ROWS), _number(own, "offset", 0)
    if limit > MOST_ROWS:
        raise Problem(400, f"limit is at most {MOST_ROWS}; ask for the others by offset")
    form = own.get("format", "json")
    if form not in ("json", "csv"):
        raise Problem(400, "format is json or csv")
    index = await filled_index(request)
    page = await run_in_threadpool(find, index, filters, limit=limit, offset=offset)
    headers = {"X-Total-Count": str(page.total), "Cache-Control": "no-store"}
    if form == "csv":
        headers["Content-Disposition"] = 'attachment; filename="findings.csv"'
        body = await run_in_threadpool(lambda: "".join(csv_parts([page.rows])))
        return Response(body, headers=headers, media_type="text/csv; charset=utf-8")
    answer = {"total": page.total, "limit": limit, "offset": offset, "findings": [as_json(row) for row in page.rows]}
    text = await run_in_threadpool(json.dumps, answer, ensure_ascii=False, allow_nan=False)
    return Response(text, headers=headers, media_type="application/json")


async def filled_index(request: Request) -> FindingsIndex:
    """The index; raises `Problem` 503 as long as nobody has looked into the archive.

    An empty answer would say that there is nothing to find.
    """
    index = state_of(request).findings
    if not await run_in_threadpool(index.is_filled):
        message = "documents of the archive are not indexed yet; `segqa serve` does it, or `segqa reindex`"
        raise Problem(503, message)
    return index


async def among(request: Request, matches: Sequence[tuple[str, str]]) -> list[str] | None:
    """SOP Instance UIDs of the documents whose content matches; None if that is not asked for."""
    if not matches:
        return None
    return await run_in_threadpool(matching_documents, await filled_index(request), matches)


async def add_references(request: Request, found: Sequence[dict[str, Any]]) -> None:
    """Put what documents refer to into the answers of QIDO-RS."""
    by_uid = {str(one["00080018"]["Value"][0]): one for one in found}
    references = await run_in_threadpool(references_of, await filled_index(request), list(by_uid))
    for uid, instances in references.items():
        by_uid[uid][_REFERENCES_TAG] = {
            "vr": "SQ",
            "Value": [
                {"00081150": {"vr": "UI", "Value": [sop_class]}, "00081155": {"vr": "UI", "Value": [instance]}}
                for sop_class, instance in instances
            ],
        }


def _number(own: dict[str, str], name: str, default: int) -> int:
    value = own.get(name, str(default))
    if not (value.isascii() and value.isdecimal() and len(value) < 10):
        raise Problem(400, f"{name} is no whole number")
    return int(value)
