"""/: segments, highest risk first, and how far the reader is."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from segqa_dicom.checks import all_rules
from segqa_dicom.findings.worklist import SegmentationSummary, segmentations
from segqa_dicom.reviews.workflow.model import WorklistFilters, WorklistRow
from segqa_dicom.viewer import document_link, study_link
from segqa_dicom.web.pages.addresses import address, filters_of, query_of, review_address, worklist_address
from segqa_dicom.web.pages.rendering import VERDICTS
from segqa_dicom.web.pages.state import number_in, page, pages_of, reader_of, shown
from segqa_dicom.web.pages.users import shown_name
from segqa_dicom.web.pages.viewer import root_path
from segqa_dicom.web.state import root_of, state_of

ROWS = 50
"""Segments on a page."""
_MOST_SEGMENTATIONS = 200


@page
async def worklist(request: Request) -> Response:
    """GET /: the worklist, filtered as the address says."""
    filters, reader, workflow = filters_of(request), reader_of(request), pages_of(request).workflow
    offset = number_in({"offset": request.query_params.get("offset", "0")}, "offset")
    index = state_of(request).findings

    def ask() -> tuple[Any, Any, list[SegmentationSummary]]:
        found = workflow.worklist(reader, filters, limit=ROWS, offset=offset)
        following = workflow.next_task(reader, filters, None)
        return found, following, segmentations(index, WorklistFilters(study=filters.study))

    found, following, summaries = await run_in_threadpool(ask)
    asked = query_of(filters)
    return await shown(
        request,
        "worklist.html",
        rows=[_row(request, one, filters) for one in found.rows],
        total=found.total,
        offset=offset,
        progress=found.progress,
        filters=filters,
        is_filtered=bool(asked),
        is_empty=not summaries and not asked,
        following=review_address(request, following, filters) if following else "",
        earlier=_at(request, asked, offset - ROWS) if offset else "",
        later=_at(request, asked, offset + ROWS) if offset + len(found.rows) < found.total else "",
        segmentations=[_summary(request, one) for one in summaries[:_MOST_SEGMENTATIONS]],
        study_count=len({one.study for one in summaries}),
        models=sorted({one.model for one in summaries}),
        rules=[(rule.id, rule.title) for rule in all_rules()],
        ae_title="SEGQA",
        dicom_web=root_of(request),
    )


def _at(request: Request, asked: dict[str, str], offset: int) -> str:
    return address(request, "/", {**asked, "offset": str(max(offset, 0))})


def _row(request: Request, row: WorklistRow, filters: WorklistFilters) -> dict[str, Any]:
    machine = row.machine
    place = machine.place
    return {
        "label": machine.label,
        "verdict": machine.verdict,
        "risk": machine.risk,
        "reason": machine.reason,
        "rules": machine.rules,
        "model": machine.model,
        "status": row.status.value,
        "readers": [shown_name(name) for name in row.readers],
        "assigned_to": row.assigned_to,
        "annotations": row.annotations,
        "link": review_address(request, row.task, filters),
        "thumbnail": address(request, f"/thumbnails/{place.segmentation}/{place.segment}"),
        "viewer": study_link(machine.study, root=root_path(request)),
    }


def _summary(request: Request, one: SegmentationSummary) -> dict[str, Any]:
    return {
        "model": one.model,
        "link": worklist_address(request, WorklistFilters(segmentation=one.segmentation)),
        "counts": [(verdict, one.counts.get(verdict, 0)) for verdict in VERDICTS],
        "total": sum(one.counts.values()),
        "study": one.study,
        "name": _short(one.study),
        "study_link": worklist_address(request, WorklistFilters(study=one.study)),
        "viewer": document_link(one.study, one.ct_series, root=root_path(request)),
    }


def _short(uid: str, length: int = 12) -> str:
    return uid if len(uid) <= length else f"…{uid[-length:]}"
