"""Agreement and the worth of rules from what readers have signed in an archive, as a user asks for them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from segqa_dicom.assessment.vocabulary import default_vocabulary
from segqa_dicom.checks import default_ruleset
from segqa_dicom.findings.worklist import machine_segments
from segqa_dicom.reviews.statistics.rule_evidence import evidence
from segqa_dicom.reviews.statistics.rule_performance import rule_worth
from segqa_dicom.reviews.statistics.rule_set_proposal import proposal
from segqa_dicom.reviews.workflow.model import WorklistFilters
from segqa_dicom.reviews.workflow.workflow import ReviewWorkflow
from tests.command import segqa
from tests.reviews.office import ANNA, BEN, LIVER, Office, finish
from tests.shared import shared

pytestmark = pytest.mark.servers


@pytest.fixture
def read_office(office: Office, workflow: ReviewWorkflow, monkeypatch: pytest.MonkeyPatch) -> Office:
    """Anna finds what the machine complains about, Ben likes the first segmentation as it is; nobody reads the rest."""
    one, other = office.segmentations()
    found, _ = machine_segments(office.index, WorklistFilters(), limit=1000)
    for segment in found:
        if segment.place.segmentation == one:
            finish(workflow, ANNA, segment.place, *(("2", LIVER) if segment.rules else ("5",)))
            finish(workflow, BEN, segment.place, "4")
        elif segment.rules:
            finish(workflow, ANNA, segment.place, "2")
    workflow.sign(ANNA, [one, other])
    workflow.sign(BEN, [one])
    monkeypatch.setenv("SEGQA_DATA", str(office.folder))
    monkeypatch.setenv("SEGQA_ARCHIVE", str(office.folder))
    return office


def test_agreement_is_told_from_what_is_signed(read_office: Office, workflow: ReviewWorkflow) -> None:
    done = segqa("agreement", "--json", "--minimum", "5")
    assert done.code == 0
    ratings = workflow.ratings()
    assert done.json["n_ratings"] == len(ratings) > 0
    pair = done.json["overall"]["pairs"][0]
    first = [place for place in read_office.places() if place.segmentation == read_office.segmentations()[0]]
    assert (pair["first"], pair["second"], pair["n_subjects"]) == ("anna", "ben", len(first))
    structures = {one.structure for one in ratings}
    assert {one["structure"] for one in done.json["structures"]} == structures - {""}
    one = sorted(structures - {""})[0]
    only = segqa("agreement", "--json", "--structure", one, "--reader", "anna", "--reader", "ben")
    assert only.json["n_ratings"] == sum(rating.structure == one for rating in ratings)


def test_rules_are_held_against_what_is_signed(read_office: Office, workflow: ReviewWorkflow) -> None:
    segments, total = machine_segments(read_office.index, WorklistFilters(), limit=1000)
    reviews = [review for segmentation in read_office.segmentations() for review in workflow.signed(segmentation)]
    found = evidence(read_office.index, reviews, default_vocabulary())
    one, other = read_office.segmentations()
    of_two = [segment for segment in segments if segment.place.segmentation == one]
    of_anna = [segment for segment in segments if segment.place.segmentation == other and segment.rules]
    assert len(found.sample.rules) == total
    assert found.sample.n_reviewed == len(of_two) + len(of_anna)
    # Where Anna finds an error and Ben does not, nobody knows
    assert found.sample.n_undecided == sum(bool(segment.rules) for segment in of_two)
    assert found.sample.n_faulty == len(of_anna) > 0
    for segment in of_anna:
        assert {rule for place, rule in found.outcomes if place == segment.place} <= set(segment.rules)
    assert set(found.outcomes.values()) <= {"WARN", "FAIL"}
    assert len(found.outcomes) > 0
    shown = segqa("reviews", "rules", "--json")
    assert shown.code == 0
    assert f'"n_faulty": {len(of_anna)}' in shown.out
    text = proposal(rule_worth(found.sample), default_ruleset(), sample=found.sample, outcomes=found.outcomes)
    assert tomllib.loads(text) == {}


def test_the_worth_of_rules_is_shown_and_a_proposal_written(read_office: Office, tmp_path: Path) -> None:
    file = tmp_path / "new" / "proposal.toml"
    done = segqa("reviews", "rules", "--propose", file)
    assert done.code == 0
    assert "Rules against readers" in done.out
    assert "No fair sample" in done.out
    assert "the proposal changes nothing" in done.out
    assert "Nothing is to be changed" in file.read_text(encoding="utf-8")
    assert segqa("reviews", "rules", "--propose", "-").out == file.read_text(encoding="utf-8")


def test_imported_ratings_give_the_numbers_of_their_table(tmp_path: Path) -> None:
    table = shared("tables", "aimi_lung_ct_qa_results.csv")
    archive = tmp_path / "archive"
    assert segqa("reviews", "import", table, "--archive", archive).code == 0
    imported, directly = (
        segqa("agreement", "--json", *options).json["overall"] for options in (["--archive", archive], ["--csv", table])
    )
    assert imported == directly
    assert imported["pairs"][0]["n_subjects"] == 47
