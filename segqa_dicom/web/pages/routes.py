"""Addresses of the pages of readers."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from segqa_dicom.web.pages.drafts import get_progress, get_scene, put_draft, reopen
from segqa_dicom.web.pages.pictures import picture, thumbnail
from segqa_dicom.web.pages.review import review
from segqa_dicom.web.pages.signing import adjudicate, sign, to_sign
from segqa_dicom.web.pages.statistics import (
    agreement_json,
    agreement_page,
    agreement_svg,
    major_csv,
    major_json,
    proposal_toml,
    rules_json,
    rules_page,
)
from segqa_dicom.web.pages.worklist import worklist

_SEGMENT = "{segmentation}/{segment}"


def page_routes() -> list[BaseRoute]:
    """Pages, what their scripts ask for, and pictures."""
    return [
        Route("/", worklist),
        Route(f"/review/{_SEGMENT}", review),
        Route("/sign", to_sign, methods=["GET"]),
        Route("/sign", sign, methods=["POST"]),
        Route("/adjudicate", adjudicate),
        Route("/agreement", agreement_page),
        Route("/agreement.json", agreement_json),
        Route("/agreement/figure.svg", agreement_svg),
        Route("/rules", rules_page),
        Route("/major.csv", major_csv),
        Route("/major.json", major_json),
        Route("/rules.json", rules_json),
        Route("/rules/proposal.toml", proposal_toml),
        Route(f"/api/reviews/scene/{_SEGMENT}", get_scene),
        Route(f"/api/reviews/progress/{_SEGMENT}", get_progress),
        Route(f"/api/reviews/drafts/{_SEGMENT}", put_draft, methods=["PUT"]),
        Route(f"/api/reviews/reopened/{_SEGMENT}", reopen, methods=["POST"]),
        Route("/pictures/{study}/{ct_series}/{view}/{index}", picture),
        Route(f"/thumbnails/{_SEGMENT}", thumbnail),
    ]
