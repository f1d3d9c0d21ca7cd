"""/api/reviews: what is typed, as it is typed; and what a page must know of a case."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from segqa_dicom.assessment.codec import content_as_json, content_from_json
from segqa_dicom.assessment.model import Purpose, Reviewer
from segqa_dicom.findings.worklist import machine_segment
from segqa_dicom.model import SegmentRef
from segqa_dicom.pictures import OpenCase, scene, to_mm
from segqa_dicom.reviews.workflow.drafts import DraftConflict
from segqa_dicom.reviews.workflow.model import Draft, MachineCheck, MachineSegment, MachineView, Task, WorklistFilters
from segqa_dicom.reviews.workflow.shared import NotYours
from segqa_dicom.web.pages.addresses import filters_of, purpose_of, review_address, worklist_address
from segqa_dicom.web.pages.guard import body_of, changing
from segqa_dicom.web.pages.state import Pages, number_in, pages_of, reader_of, uid_in
from segqa_dicom.web.problems import Problem
from segqa_dicom.web.state import state_of

_NO_STORE = {"Cache-Control": "no-store"}
_FARTHEST_VOXEL = 1e6


def place_in(request: Request) -> SegmentRef:
    """The segment that an address names."""
    return SegmentRef(uid_in(request.path_params, "segmentation"), number_in(request.path_params, "segment"))


def machine_in(request: Request, place: SegmentRef) -> MachineSegment:
    """What the machine says about a segment in short; raises `Problem` 404 if it does not know it. Blocks."""
    found = machine_segment(state_of(request).findings, place)
    if found is None:
        raise Problem(404, "no such segment was checked; it may still be on its way")
    return found


def task_in(request: Request) -> Task:
    """The task that an address names in full."""
    reading = number_in({"reading": request.query_params.get("reading", "1")}, "reading")
    return Task(place_in(request), purpose_of(request), reading)


def case_of(pages: Pages, machine: MachineSegment) -> OpenCase:
    """The case of a segment, opened if need be. Blocks."""
    return pages.cases.open(machine.study, machine.ct_series, must_have=machine.place.segmentation)


# What a page must know


async def get_scene(request: Request) -> Response:
    """GET: how the pictures of a segment are laid out, see `pictures.scene`; answers when the case is open.

    Query: ``at``: where to look first, in mm; else it is where the machine points to, else the middle of the segment.
    In ``checks`` stands where the complaints are, in their order; null for those that are nowhere in particular.
    """
    place, pages = place_in(request), pages_of(request)
    reader_of(request)
    at = _points(request.query_params.getlist("at"))

    def make() -> dict[str, Any]:
        opened = case_of(pages, machine_in(request, place))
        view = pages.views.machine_view(place)
        locations = [*at, *(view.locations_mm if view else ())]
        checks = [one.location_mm for one in complaints(view)] if view else []
        return {**scene(opened, place.segmentation, place.segment, locations), "checks": checks}

    return JSONResponse(await run_in_threadpool(make), headers=_NO_STORE)


def complaints(view: MachineView) -> list[MachineCheck]:
    """What did not pass."""
    return [one for one in view.checks if one.outcome in ("FAIL", "WARN")]


def _points(given: Sequence[str]) -> list[tuple[float, float, float]]:
    try:
        points = [tuple(float(number) for number in one.split(",")) for one in given]
        return [(x, y, z) for x, y, z in points]
    except ValueError as error:
        raise Problem(400, "at is x,y,z in mm") from error


async def get_progress(request: Request) -> Response:
    """GET: what is being done to open the case of a segment."""
    place, pages = place_in(request), pages_of(request)
    reader_of(request)

    def ask() -> tuple[str, int, int] | None:
        machine = machine_in(request, place)
        return pages.cases.progress(machine.study, machine.ct_series)

    step = await run_in_threadpool(ask)
    name, done, total = step or ("", 0, 0)
    return JSONResponse({"step": name, "done": done, "total": total}, headers=_NO_STORE)


# What is typed


@changing
async def put_draft(request: Request, _: Mapping[str, list[str]]) -> Response:
    """PUT of what was typed about a segment.

    Body: ``content`` (as `content_as_json`; a place may be ``voxel`` and ``box`` instead of mm), ``version`` of the
    draft that was changed, ``finish``, and ``then`` ("next" or "previous"): which address to tell. 409 with the draft
    as it is if another window has saved something since.
    """
    task, filters, reader, pages = task_in(request), filters_of(request), reader_of(request), pages_of(request)
    body = await _json(request)
    version, finish, then = body.get("version"), body.get("finish", False), body.get("then", "")
    if not isinstance(version, int) or not isinstance(finish, bool) or then not in ("", "next", "previous"):
        raise Problem(400, "a draft is sent with version, finish and then")

    def save() -> dict[str, Any]:
        content = content_from_json(_in_mm(request, pages, task.place, body.get("content")))
        saved = draft_as_json(pages.workflow.save(reader, task, content, version=version, finish=finish))
        return {**saved, "next": _following(request, pages, reader, task, filters, then)} if then else saved

    try:
        return JSONResponse(await run_in_threadpool(save), headers=_NO_STORE)
    except DraftConflict as error:
        answer = {"message": str(error), "draft": draft_as_json(error.current)}
        return JSONResponse(answer, 409, headers=_NO_STORE)
    except NotYours as error:
        raise Problem(403, str(error)) from error


@changing
async def reopen(request: Request, _: Mapping[str, list[str]]) -> Response:
    """POST: go on with what was signed."""
    task, reader, pages = task_in(request), reader_of(request), pages_of(request)
    try:
        draft = await run_in_threadpool(pages.workflow.reopen, reader, task)
    except NotYours as error:
        raise Problem(403, str(error)) from error
    return JSONResponse(draft_as_json(draft), headers=_NO_STORE)


def draft_as_json(draft: Draft) -> dict[str, Any]:
    """A draft for the page."""
    return {"content": content_as_json(draft.content), "version": draft.version, "status": draft.status.value}


def following_address(request: Request, task: Task | None, filters: WorklistFilters) -> str:
    """The page of a task, or the worklist if there is none."""
    return review_address(request, task, filters) if task else worklist_address(request, filters)


def _following(
    request: Request, pages: Pages, reader: Reviewer, task: Task, filters: WorklistFilters, then: str
) -> str:
    if task.purpose is Purpose.ADJUDICATION:
        others = [one for one in pages.workflow.adjudication_tasks(reader) if one.place != task.place]
        return review_address(request, others[0], filters) if others else f"{worklist_address(request, filters)}"
    ask = pages.workflow.next_task if then == "next" else pages.workflow.previous_task
    return following_address(request, ask(reader, filters, task), filters)


async def _json(request: Request) -> dict[str, Any]:
    try:
        found = json.loads(await body_of(request))
    except (ValueError, RecursionError) as error:
        raise Problem(400, "the body is no JSON") from error
    if not isinstance(found, dict):
        raise Problem(400, "the body is no JSON object")
    return found


def _in_mm(request: Request, pages: Pages, place: SegmentRef, content: object) -> dict[str, Any]:
    """The content with places in mm, of those that the page knows as voxels only."""
    findings = content.get("findings", []) if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(findings, list):
        raise Problem(400, "content is what is said about a segment")
    if any(isinstance(one, dict) and one.get("voxel") for one in findings):
        opened = case_of(pages, machine_in(request, place))
        findings = [_placed(one, opened) for one in findings]
    return {**content, "findings": findings, "segment_number": place.segment}


def _placed(finding: object, opened: OpenCase) -> object:
    if not isinstance(finding, dict) or not finding.get("voxel"):
        return finding
    point = to_mm(opened, _voxel(finding["voxel"]))
    box = None
    if finding.get("box"):
        first, last = (to_mm(opened, _voxel(corner)) for corner in _two(finding["box"]))
        pairs = list(zip(first, last, strict=True))
        box = [[min(pair) for pair in pairs], [max(pair) for pair in pairs]]
        point = tuple((low + high) / 2 for low, high in pairs)  # type: ignore[assignment]
    return {**finding, "point_mm": list(point), "box_mm": box}


def _two(value: object) -> list[object]:
    if not isinstance(value, list) or len(value) != 2:
        raise Problem(400, "a box has two corners")
    return value


def _voxel(value: object) -> list[float]:
    numbers = value if isinstance(value, list) else []
    if len(numbers) != 3 or not all(
        isinstance(one, int | float) and not isinstance(one, bool) and abs(one) < _FARTHEST_VOXEL for one in numbers
    ):
        raise Problem(400, "a place is [slice, row, column]")
    return [float(one) for one in numbers]
