"""/agreement and /rules: how far readers agree, and which rules are worth it."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from segqa_dicom.reviews.exchange.export import MajorEdit, as_csv, as_references, major_edits
from segqa_dicom.reviews.statistics.agreement import AgreementReport, Rating, agreement, as_json
from segqa_dicom.reviews.statistics.agreement_figure import agreement_figure, name_of_pair
from segqa_dicom.reviews.statistics.rule_evidence import evidence
from segqa_dicom.reviews.statistics.rule_performance import as_json as worth_as_json
from segqa_dicom.reviews.statistics.rule_performance import rule_worth
from segqa_dicom.reviews.statistics.rule_set_proposal import difference, proposal
from segqa_dicom.web.pages.state import page, pages_of, reader_of, shown
from segqa_dicom.web.pages.users import adjudicators_of
from segqa_dicom.web.state import state_of

SEED = 1
"""Of the resamples: the same ratings give the same intervals."""
_RESAMPLES = 1000
_NO_STORE = {"Cache-Control": "no-store"}


@page
async def agreement_page(request: Request) -> Response:
    """GET /agreement: kappas with intervals, overall, by structure, and of readers with themselves."""
    found = await run_in_threadpool(_report, request)
    return await shown(
        request,
        "agreement.html",
        report=found,
        pairs=[(name_of_pair(one), one) for one in (*found.overall.pairs, *found.repeats)],
        structures=[group for group in found.structures if group.n_several],
    )


async def agreement_svg(request: Request) -> Response:
    """GET: the figure."""
    reader_of(request)
    text = await run_in_threadpool(lambda: agreement_figure(_report(request)))
    return Response(text, media_type="image/svg+xml", headers=_NO_STORE)


async def agreement_json(request: Request) -> Response:
    """GET: everything, as JSON."""
    reader_of(request)
    text = await run_in_threadpool(lambda: json.dumps(as_json(_report(request)), allow_nan=False, indent=1))
    headers = {**_NO_STORE, "Content-Disposition": 'attachment; filename="agreement.json"'}
    return Response(text, media_type="application/json", headers=headers)


def _report(request: Request) -> AgreementReport:
    return _agreement(tuple(pages_of(request).workflow.ratings()))


@lru_cache(maxsize=4)
def _agreement(ratings: tuple[Rating, ...]) -> AgreementReport:
    return agreement(ratings, seed=SEED, resamples=_RESAMPLES)


@page
async def rules_page(request: Request) -> Response:
    """GET /rules: how often each rule is right, and what the rule set might become."""
    return await shown(request, "rules.html", **await run_in_threadpool(_rules, request))


async def rules_json(request: Request) -> Response:
    """GET: the same as JSON."""
    reader_of(request)

    def make() -> str:
        found = _rules(request)
        return json.dumps(worth_as_json(found["sample"], found["worths"]), allow_nan=False, indent=1)

    headers = {**_NO_STORE, "Content-Disposition": 'attachment; filename="rules.json"'}
    return Response(await run_in_threadpool(make), media_type="application/json", headers=headers)


async def proposal_toml(request: Request) -> Response:
    """GET: the proposed changes, for ``--ruleset``."""
    reader_of(request)
    found = await run_in_threadpool(_rules, request)
    headers = {**_NO_STORE, "Content-Disposition": 'attachment; filename="ruleset.toml"'}
    return Response(found["proposed"], media_type="application/toml", headers=headers)


def _rules(request: Request) -> dict[str, Any]:
    pages, index = pages_of(request), state_of(request).findings
    found = evidence(index, pages_of(request).workflow.signed(), pages.ruleset.vocabulary)
    worths = rule_worth(found.sample)
    proposed = proposal(worths, pages.ruleset, sample=found.sample, outcomes=found.outcomes)
    return {
        "sample": found.sample,
        "worths": worths,
        "proposed": proposed,
        "changes": difference(pages.readers.rules_text, proposed).splitlines(),
        "downloads": (
            ("/major.csv", "List as CSV"),
            ("/major.json", "References to DICOM objects as JSON"),
        ),
    }


async def major_csv(request: Request) -> Response:
    """GET: segments that readers want changed, as a table."""
    text = await run_in_threadpool(lambda: as_csv(_major(request)))
    headers = {**_NO_STORE, "Content-Disposition": 'attachment; filename="major_edits.csv"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


async def major_json(request: Request) -> Response:
    """GET: the same as references to DICOM objects."""
    archive = state_of(request).archive
    text = await run_in_threadpool(lambda: json.dumps(as_references(_major(request), archive), indent=1))
    headers = {**_NO_STORE, "Content-Disposition": 'attachment; filename="major_edits.json"'}
    return Response(text, media_type="application/json", headers=headers)


def _major(request: Request) -> list[MajorEdit]:
    """While reading is blind, by what the reader has said; adjudicators see all."""
    reader, service = reader_of(request), state_of(request).service
    found = pages_of(request).workflow.signed()
    if service.blind and reader.login not in adjudicators_of(service):
        found = [one for one in found if one.review.reviewer.login == reader.login]
    return major_edits(found, state_of(request).findings, pages_of(request).vocabulary)
