"""/sign: what is finished becomes documents; /adjudicate: where readers differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from segqa_dicom.assessment.model import Purpose
from segqa_dicom.findings.worklist import machine_segment
from segqa_dicom.model import SegmentRef
from segqa_dicom.reviews.workflow.model import MachineSegment, Task, Unsigned, WorklistFilters, Written
from segqa_dicom.viewer import study_link
from segqa_dicom.web.pages.addresses import address, review_address, worklist_address
from segqa_dicom.web.pages.guard import changing
from segqa_dicom.web.pages.review import short_words
from segqa_dicom.web.pages.state import page, pages_of, reader_of, shown
from segqa_dicom.web.pages.users import adjudicators_of, shown_name
from segqa_dicom.web.pages.viewer import root_path
from segqa_dicom.web.problems import Problem
from segqa_dicom.web.state import DICOM_WEB, state_of

_KINDS = {"review": "review", "keyimg": "places in the images", "review_keyimg": "places in the images"}


@page
async def to_sign(request: Request) -> Response:
    """GET /sign: what is finished and not signed."""
    return await _sign_page(request, ())


@page
@changing
async def sign(request: Request, fields: Mapping[str, list[str]]) -> Response:
    """POST /sign: write documents of the segmentations that are named, and say what became of them."""
    reader, workflow = reader_of(request), pages_of(request).workflow
    segmentations = fields.get("segmentation", [])
    how = fields.get("how", ["signed"])[0]
    if how not in ("signed", "preliminary"):
        raise Problem(400, "how is signed or preliminary")
    written = await run_in_threadpool(workflow.sign, reader, segmentations, is_signed=how == "signed")
    if not written and not segmentations:
        return RedirectResponse(address(request, "/sign"), 303)
    return await _sign_page(request, written)


async def _sign_page(request: Request, written: Sequence[Written]) -> Response:
    reader, workflow, index = reader_of(request), pages_of(request).workflow, state_of(request).findings

    def ask() -> tuple[list[Unsigned], dict[str, MachineSegment | None]]:
        uids = {one.segmentation for one in written}
        return workflow.unsigned(reader), {uid: machine_segment(index, SegmentRef(uid, 0)) for uid in uids}

    unsigned, machines = await run_in_threadpool(ask)
    return await shown(
        request,
        "sign.html",
        entries=[_entry(request, one) for one in unsigned],
        count=sum(len(one.segments) for one in unsigned),
        written=[_document(request, one, machines[one.segmentation]) for one in written],
        is_waiting=any(not one.is_confirmed for one in written),
    )


def _entry(request: Request, one: Unsigned) -> dict[str, Any]:
    vocabulary = pages_of(request).vocabulary
    return {
        "segmentation": one.segmentation,
        "model": one.model,
        "is_adjudication": one.purpose is Purpose.ADJUDICATION,
        "drafts": one.drafts,
        "drafts_link": worklist_address(request, WorklistFilters(segmentation=one.segmentation, status="draft")),
        "segments": [
            {
                "label": one.labels.get(said.segment_number, f"Segment {said.segment_number}"),
                "link": review_address(
                    request, Task(SegmentRef(one.segmentation, said.segment_number), one.purpose), WorklistFilters()
                ),
                **short_words(said, vocabulary),
            }
            for said in one.segments
        ],
    }


def _document(request: Request, one: Written, machine: MachineSegment | None) -> dict[str, Any]:
    study = machine.study if machine else ""
    return {
        "kind": _KINDS.get(one.kind, one.kind),
        "uid": one.sop_instance_uid,
        "model": machine.model if machine else one.segmentation,
        "is_confirmed": one.is_confirmed,
        "viewer": study_link(study, root=root_path(request)),
        "search": address(request, f"{DICOM_WEB}/studies/{study}/instances", {"SOPInstanceUID": one.sop_instance_uid}),
    }


@page
async def adjudicate(request: Request) -> Response:
    """GET /adjudicate: segments where readers differ."""
    reader, pages, index = reader_of(request), pages_of(request), state_of(request).findings

    def ask() -> list[dict[str, Any]]:
        found = []
        for task in pages.workflow.adjudication_tasks(reader):
            machine = machine_segment(index, task.place)
            said = [
                {"name": shown_name(one.review.reviewer.name), **short_words(content, pages.vocabulary)}
                for one, content in pages.workflow.visible_reviews(reader, task)
            ]
            if machine:
                link = review_address(request, task, WorklistFilters())
                found.append({"machine": machine, "said": said, "link": link})
        return found

    return await shown(
        request,
        "adjudicate.html",
        rows=await run_in_threadpool(ask),
        is_adjudicator=reader.login in adjudicators_of(state_of(request).service),
        login=reader.login,
    )
