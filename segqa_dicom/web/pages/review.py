"""/review: one segment, its pictures, what the machine says, and what the reader says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from segqa_dicom.assessment.codec import LONGEST_COMMENT
from segqa_dicom.assessment.model import Purpose, Reviewer, ReviewFinding, SegmentReview
from segqa_dicom.assessment.vocabulary import SECTIONS, Term, Vocabulary
from segqa_dicom.findings.worklist import machine_segments
from segqa_dicom.model import SegmentRef
from segqa_dicom.reviews.workflow.model import (
    Annotation,
    Draft,
    MachineSegment,
    MachineView,
    SignedReview,
    Task,
    WorklistFilters,
)
from segqa_dicom.reviews.workflow.workflow import OpenedSegment
from segqa_dicom.viewer import document_link
from segqa_dicom.web.pages.addresses import (
    address,
    draft_address,
    filters_of,
    purpose_of,
    review_address,
    worklist_address,
)
from segqa_dicom.web.pages.drafts import complaints, draft_as_json, following_address, machine_in, place_in
from segqa_dicom.web.pages.guard import token_of
from segqa_dicom.web.pages.state import Pages, page, pages_of, reader_of, shown
from segqa_dicom.web.pages.users import shown_name
from segqa_dicom.web.pages.viewer import root_path
from segqa_dicom.web.state import state_of

COMMANDS = {
    "own": ("q", "contour of this segment"),
    "others": ("z", "all other contours"),
    "home": ("r", "the segment close up, or whole pictures"),
    "action": ("g", "next proposed action"),
    "confidence": ("j", "next confidence"),
    "issue": ("i", "next place that the machine complains about"),
}
"""What letters do beside the finding types: letter, and in words. A vocabulary that takes the letter gets it."""
_SEGMENTS = 100_000


@page
async def review(request: Request) -> Response:
    """GET /review/{segmentation}/{segment}: the page of one segment."""
    place, purpose, filters = place_in(request), purpose_of(request), filters_of(request)
    reader, pages = reader_of(request), pages_of(request)
    values = await run_in_threadpool(_values, request, pages, reader, place, purpose, filters)
    return await shown(request, "review.html", **values)


def command_keys(vocabulary: Vocabulary) -> dict[str, str]:
    """The letter of each command; empty for those whose letter is a word's of the vocabulary."""
    taken = {term.key for section in SECTIONS for term in vocabulary.section(section).values()}
    return {name: "" if key in taken else key for name, (key, _) in COMMANDS.items()}


def _values(
    request: Request,
    pages: Pages,
    reader: Reviewer,
    place: SegmentRef,
    purpose: Purpose,
    filters: WorklistFilters,
) -> dict[str, Any]:
    """All that the template needs. Blocks."""
    machine = machine_in(request, place)
    opened = pages.workflow.open_segment(reader, place, purpose, filters)
    view = pages.views.machine_view(place) or MachineView(machine)
    annotations = pages.views.annotations(place)
    _preload(request, pages, machine, opened.next)
    links = _links(request, machine, opened, filters)
    others, places = _others(opened.others, pages.vocabulary)
    before, after = _neighbours(request, place, filters)
    placed = {"annotations": [_place_of(one.finding) for one in annotations], "others": places}
    return {
        "machine": machine,
        "view": view,
        "complaints": complaints(view),
        "task": opened.task,
        "draft": opened.draft,
        "progress": opened.progress,
        "links": links,
        "vocabulary": pages.vocabulary,
        "keys": command_keys(pages.vocabulary),
        "longest": LONGEST_COMMENT,
        "others": others,
        "annotations": [_annotation(one, pages.vocabulary) for one in annotations],
        "before": before,
        "after": after,
        "page": _page(request, pages, reader, machine, opened.draft, filters, links)
        | {"places": placed, "scene": _scene(request, place, opened.draft)},
    }


def _links(
    request: Request, machine: MachineSegment, opened: OpenedSegment, filters: WorklistFilters
) -> dict[str, str]:
    is_deciding = opened.task.purpose is Purpose.ADJUDICATION
    return {
        "worklist": address(request, "/adjudicate") if is_deciding else worklist_address(request, filters),
        "viewer": document_link(machine.study, machine.ct_series, root=root_path(request)),
        "next": following_address(request, opened.next, filters),
        "previous": following_address(request, opened.previous, filters),
    }


def _page(
    request: Request,
    pages: Pages,
    reader: Reviewer,
    machine: MachineSegment,
    draft: Draft,
    filters: WorklistFilters,
    links: Mapping[str, str],
) -> dict[str, Any]:
    """What the script must know."""
    task, place = draft.task, machine.place
    named = f"{place.segmentation}/{place.segment}"
    words = {section: [asdict(term) for term in pages.vocabulary.section(section).values()] for section in SECTIONS}
    return {
        "segmentation": place.segmentation,
        "segment": place.segment,
        "url": draft_address(request, task, filters),
        "reopen": draft_address(request, task, filters, "reopened"),
        "progress": address(request, f"/api/reviews/progress/{named}"),
        "pictures": address(request, f"/pictures/{machine.study}/{machine.ct_series}"),
        "backup": f"segqa {reader.login} {named} {task.purpose.value} {task.reading}",
        "csrf": token_of(request),
        "draft": draft_as_json(draft),
        "vocabulary": words,
        "keys": command_keys(pages.vocabulary),
        "longest": LONGEST_COMMENT,
        "links": {"next": links["next"], "previous": links["previous"]},
    }


def _scene(request: Request, place: SegmentRef, draft: Draft) -> str:
    """Looks first at what the reader found; else the service says where."""
    mine = [one.location.point_mm for one in draft.content.findings if one.location]
    query = {"at": ",".join(f"{value:.3f}" for value in mine[0])} if mine else None
    return address(request, f"/api/reviews/scene/{place.segmentation}/{place.segment}", query)


def _preload(request: Request, pages: Pages, machine: MachineSegment, following: Task | None) -> None:
    """Have the case of the next task ready when it comes."""
    if following is None or following.place.segmentation == machine.place.segmentation:
        return
    upcoming = machine_in(request, following.place)
    if upcoming.ct_series != machine.ct_series:
        pages.cases.preload(upcoming.study, upcoming.ct_series)


def _neighbours(
    request: Request, place: SegmentRef, filters: WorklistFilters
) -> tuple[dict[str, str] | None, dict[str, str] | None]:
    """The segments before and after this one in its segmentation, by number."""
    wanted = WorklistFilters(segmentation=place.segmentation)
    found, _ = machine_segments(state_of(request).findings, wanted, limit=_SEGMENTS)
    ordered = sorted(found, key=lambda one: one.place.segment)

    def linked(near: Sequence[MachineSegment], at: int) -> dict[str, str] | None:
        if not near:
            return None
        return {"label": near[at].label, "link": review_address(request, Task(near[at].place), filters)}

    before = [one for one in ordered if one.place.segment < place.segment]
    after = [one for one in ordered if one.place.segment > place.segment]
    return linked(before, -1), linked(after, 0)


# What others said


def _others(
    said: Sequence[tuple[SignedReview, SegmentReview]], vocabulary: Vocabulary
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What other readers said in words, and the places that they point to."""
    places: list[dict[str, Any]] = []
    found = []
    for signed, content in said:
        findings = []
        for one in content.findings:
            place = _place_of(one)
            findings.append({"words": _words(one, vocabulary), "place": len(places) if place else None})
            places += [place] if place else []
        found.append(
            {
                "name": shown_name(signed.review.reviewer.name),
                "rating": _name(vocabulary.ratings, content.rating) or "no rating",
                "action": _name(vocabulary.actions, content.action),
                "findings": findings,
                "comment": content.comment,
            }
        )
    return found, places


def _annotation(one: Annotation, vocabulary: Vocabulary) -> dict[str, str]:
    words = one.finding.comment or _words(one.finding, vocabulary)
    if one.distance_mm:
        words += f" ({one.distance_mm:.0f} mm away)"
    return {"words": words, "author": shown_name(one.author), "program": one.program}


def _place_of(finding: ReviewFinding) -> dict[str, Any] | None:
    if finding.location is None:
        return None
    return {"point_mm": finding.location.point_mm, "box_mm": finding.location.box_mm}


def _words(finding: ReviewFinding, vocabulary: Vocabulary) -> str:
    name = _name(vocabulary.findings, finding.type)
    severity = _name(vocabulary.severities, finding.severity).lower()
    return f"{name}{f', {severity}' if severity else ''}{f': {finding.comment}' if finding.comment else ''}"


def _name(words: Mapping[str, Term], word: str) -> str:
    return words[word].name if word in words else word


def short_words(content: SegmentReview, vocabulary: Vocabulary) -> dict[str, str]:
    """What was said about a segment, for tables."""
    return {
        "rating": _name(vocabulary.ratings, content.rating),
        "findings": "; ".join(_words(one, vocabulary) for one in content.findings),
        "action": _name(vocabulary.actions, content.action),
        "comment": content.comment,
    }
