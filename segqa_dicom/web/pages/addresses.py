"""Addresses of the pages, and what is asked for in them."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request

from segqa_dicom.assessment.model import Purpose
from segqa_dicom.model import SegmentRef
from segqa_dicom.reviews.workflow.model import DraftState, Task, WorklistFilters
from segqa_dicom.web.pages.rendering import VERDICTS
from segqa_dicom.web.pages.viewer import root_path
from segqa_dicom.web.problems import Problem

_LONGEST = 200
_TEXTS = ("model", "structure", "rule", "status", "reviewer", "verdict", "study", "segmentation")


def filters_of(request: Request) -> WorklistFilters:
    """The filters of an address; raises `Problem` 400 for those that mean nothing."""
    given = {name: request.query_params.get(name, "").strip() for name in _TEXTS}
    for name, value in given.items():
        if len(value) > _LONGEST:
            raise Problem(400, f"{name} has more than {_LONGEST} characters")
    if given["status"] not in ("", *DraftState):
        raise Problem(400, f"status is one of {', '.join(DraftState)}")
    if given["verdict"] not in VERDICTS:
        raise Problem(400, f"verdict is one of {', '.join(name for name in VERDICTS if name)}")
    return WorklistFilters(
        **given,
        is_annotated=request.query_params.get("annotated") == "1",
        is_major=request.query_params.get("major") == "1",
    )


def query_of(filters: WorklistFilters) -> dict[str, str]:
    """What `filters_of` reads."""
    found = {name: value for name in _TEXTS if (value := str(getattr(filters, name)))}
    if filters.is_annotated:
        found["annotated"] = "1"
    if filters.is_major:
        found["major"] = "1"
    return found


def address(request: Request, path: str, query: dict[str, str] | None = None) -> str:
    """An address of this service as its users reach it."""
    return f"{root_path(request)}{path}" + (f"?{urlencode(query)}" if query else "")


def worklist_address(request: Request, filters: WorklistFilters) -> str:
    """The worklist with these filters."""
    return address(request, "/", query_of(filters))


def review_address(request: Request, task: Task, filters: WorklistFilters) -> str:
    """The page of a task. Of a repeat it does not say so: the reader shall not know."""
    query = query_of(filters)
    if task.purpose is Purpose.ADJUDICATION:
        query["purpose"] = Purpose.ADJUDICATION.value
    return address(request, f"/review/{_of(task.place)}", query)


def draft_address(request: Request, task: Task, filters: WorklistFilters, what: str = "drafts") -> str:
    """Where the page sends what is typed."""
    query = {**query_of(filters), "purpose": task.purpose.value, "reading": str(task.reading)}
    return address(request, f"/api/reviews/{what}/{_of(task.place)}", query)


def _of(place: SegmentRef) -> str:
    return f"{place.segmentation}/{place.segment}"


def purpose_of(request: Request) -> Purpose:
    """Why somebody opens a page; raises `Problem` 400 for what is none."""
    given = request.query_params.get("purpose", Purpose.READING.value)
    try:
        return Purpose(given)
    except ValueError as error:
        raise Problem(400, f"purpose is one of {', '.join(Purpose)}") from error
