"""Ratings from tables become reviews where their segmentations are, count where they are not, and never come twice."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import pytest

from segqa_dicom.assessment.model import Purpose
from segqa_dicom.findings.worklist import SegmentationSummary, segmentations
from segqa_dicom.model import WHOLE, SegmentRef
from segqa_dicom.reviews.workflow.model import Task, WorklistFilters
from tests.command import Ran, segqa
from tests.reviews.office import ANNA, Office, finish, outgoing, said
from tests.reviews.test_signing import review_of
from tests.shared import shared

pytestmark = pytest.mark.servers

_AIMI = (
    "Reviewer", "StudyInstanceUID", "SeriesInstanceUID", "AISegmentation", "LikertScore",
    "CommentsAboutAISegmentation", "CommentsAboutScan", "PatientID",
)  # fmt: skip
AWAY = "1.2.826.0.1.99"
"""A CT series that is not in the archive."""


def aimi(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    """A table; cells as in `_AIMI`, empty ones may be left out at the end."""
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(_AIMI)
    writer.writerows([*row, *[""] * (len(_AIMI) - len(row))] for row in rows)
    path.write_text(text.getvalue())
    return path


def models(office: Office) -> tuple[SegmentationSummary, SegmentationSummary]:
    """A and B."""
    one, other = sorted(segmentations(office.index), key=lambda summary: summary.model)
    return one, other


def run(office: Office, *arguments: str | Path) -> Ran:
    return segqa("reviews", *arguments, "--archive", office.folder)


def imported(office: Office, *arguments: str | Path, code: int = 0) -> dict[str, object]:
    result = run(office, "import", *arguments, "--json")
    assert result.code == code, result.err
    return dict(json.loads(result.out))


def rows_of(office: Office) -> list[list[str]]:
    """Both readers about model A, one about model B, one about something that is not there."""
    one, other = models(office)
    return [
        ["ne1", one.study, one.ct_series, f"{one.model}.seg.dcm", "4", "nearly right", "noisy", "P1"],
        ["rad1", one.study, one.ct_series, f"ai_{one.segmentation}.seg.dcm", "2", "leaks", "", "P1"],
        ["ne1", other.study, other.ct_series, f"{other.model}.seg.dcm", "1", "", "", "P1"],
        ["ne1", "1.2.3", AWAY, "ai_x.seg.dcm", "5", "fine", "", "P2"],
    ]


def test_ratings_become_signed_reviews_of_their_readers(office: Office, tmp_path: Path) -> None:
    one, other = models(office)
    table = aimi(tmp_path / "table.csv", rows_of(office))
    found = imported(office, table, "--reviewer-map", "ne1=doe")
    assert (found["rows"], found["new"], found["ratings"], found["waiting"], found["problems"]) == (4, 4, 3, 1, [])
    reviews = {(r.reviewer.login, r.segmentation): r for r in map(review_of, office.documents())}
    assert set(reviews) == {("doe", one.segmentation), ("rad1", one.segmentation), ("doe", other.segmentation)}
    (content,) = reviews["doe", one.segmentation].segments
    assert (content.segment_number, content.rating) == (WHOLE, "4")
    assert content.comment == "nearly right\nAbout the scan: noisy"
    assert all(review.is_signed and review.purpose is Purpose.READING for review in reviews.values())
    ratings = {(rating.reader, rating.subject): rating.rating for rating in office.workflow().ratings()}
    assert ratings == {
        ("doe", f"{one.segmentation}/0"): 4,
        ("rad1", f"{one.segmentation}/0"): 2,
        ("doe", f"{other.segmentation}/0"): 1,
        ("doe", f"{AWAY}/ai_x.seg.dcm"): 5,
    }


@pytest.mark.parametrize("is_ledger_lost", [False, True])
def test_importing_twice_changes_nothing(office: Office, tmp_path: Path, *, is_ledger_lost: bool) -> None:
    table = aimi(tmp_path / "table.csv", rows_of(office))
    imported(office, table)
    documents = {one.sop_instance_uid for one in office.documents()}
    ratings = sorted(office.workflow().ratings(), key=str)
    if is_ledger_lost:
        office.lose_ledger()
    again = imported(office, table)
    assert (again["documents"], again["problems"], again["waiting"]) == ([], [], 1)
    assert again["new"] == (4 if is_ledger_lost else 0)
    assert {one.sop_instance_uid for one in office.documents()} == documents
    assert sorted(office.workflow().ratings(), key=str) == ratings


def test_ratings_that_came_first_become_reviews_when_their_segmentations_come(reviewed: Path, tmp_path: Path) -> None:
    there, empty = Office(reviewed, tmp_path / "there"), tmp_path / "empty"
    empty.mkdir()
    office = Office(None, empty)
    table = aimi(tmp_path / "table.csv", rows_of(there))
    assert imported(office, table)["waiting"] == 4
    assert len(office.workflow().ratings()) == 4
    assert len({rating.cluster for rating in office.workflow().ratings()}) == 2
    office.archive.store(outgoing(there.objects()))
    assert segqa("reindex", "--archive", empty).code == 0
    later = imported(office)
    assert (later["ratings"], later["waiting"]) == (3, 1)
    assert len(office.workflow().ratings()) == 4
    assert len(office.documents()) == 3
    for one in (there, office):
        one.close()


def test_broken_lines_are_named_and_the_rest_goes_on(office: Office, tmp_path: Path) -> None:
    good, *_ = rows_of(office)
    rows = [good, ["ne1", "no uid", AWAY, "x.dcm", "5"], ["ne1", "1.2", AWAY, "y.dcm", "9"]]
    result = run(office, "import", aimi(tmp_path / "table.csv", rows))
    assert result.code == 1
    assert "line 3: StudyInstanceUID" in result.err
    assert "line 4: the rating" in result.err
    assert "1 ratings became 1 signed reviews" in result.out


def test_a_table_that_says_something_else_than_before_is_not_believed(office: Office, tmp_path: Path) -> None:
    good, *rest = rows_of(office)
    imported(office, aimi(tmp_path / "table.csv", [good, *rest]))
    changed = [*good[:4], "1", *good[5:]]
    found = imported(office, aimi(tmp_path / "table.csv", [changed, *rest]), code=1)
    assert found["problems"] == [
        {"line": 2, "message": "its reader said something else about it in a table imported before"}
    ]
    assert len(office.documents()) == 3


def test_what_a_reader_has_signed_here_is_not_overruled(office: Office, tmp_path: Path) -> None:
    one, _ = models(office)
    whole = SegmentRef(one.segmentation, WHOLE)
    workflow = office.workflow()
    finish(workflow, ANNA, whole, "5")
    workflow.sign(ANNA, [one.segmentation])
    rows = [["anna", one.study, one.ct_series, f"{one.model}.dcm", "2"]]
    found = imported(office, aimi(tmp_path / "table.csv", rows), code=1)
    assert "signed another rating" in str(found["problems"])
    assert [review_of(document).segments[0].rating for document in office.documents()] == ["5"]


def test_an_import_takes_over_what_the_reader_has_signed_about_segments(office: Office, tmp_path: Path) -> None:
    place = office.places()[0]
    (one,) = [summary for summary in segmentations(office.index) if summary.segmentation == place.segmentation]
    workflow = office.workflow()
    finish(workflow, ANNA, place, "3")
    workflow.sign(ANNA, [place.segmentation])
    rows = [["anna", one.study, one.ct_series, f"{one.model}.dcm", "2"]]
    imported(office, aimi(tmp_path / "table.csv", rows))
    later = office.workflow()
    (review,) = later.signed(place.segmentation)
    assert [(said.segment_number, said.rating) for said in review.review.segments] == [(0, "2"), (place.segment, "3")]
    assert later.draft(ANNA, Task(place)).content == said(place, "3")


def test_two_ratings_of_one_reader_are_two_readings(office: Office, tmp_path: Path) -> None:
    one, _ = models(office)
    rows = [["ne1", one.study, one.ct_series, f"{one.model}.dcm", rating, comment] for rating, comment in ("3a", "4b")]
    imported(office, aimi(tmp_path / "table.csv", rows))
    assert sorted((rating.reading, rating.rating) for rating in office.workflow().ratings()) == [(1, 3), (2, 4)]


def test_tables_of_segmentation_review_name_segmentations_and_segments(office: Office, tmp_path: Path) -> None:
    one, _ = models(office)
    page = office.workflow().worklist(ANNA, WorklistFilters(segmentation=one.segmentation), limit=1)
    (row,) = page.rows
    structure = row.machine.structure
    table = tmp_path / "annotations.csv"
    table.write_text(
        f"C:\\ct\\{one.segmentation}\\image.nii.gz,3,wrong,C:\\masks\\{one.segmentation}\\{structure}.nii.gz,1\n"
        f"C:\\ct\\{one.segmentation}\\image.nii.gz,2,,C:\\masks\\{one.segmentation}\\all.seg.nrrd,1\n"
        "C:\\ct\\other\\image.nii.gz,5,,,1\n"
    )
    refused = run(office, "import", table)
    assert refused.code == 2
    assert "--reader LOGIN" in refused.err or "minor" in refused.err
    undecided = run(office, "import", table, "--reader", "roe")
    assert undecided.code == 2
    assert "say which" in undecided.err
    result = run(office, "import", table, "--reader", "roe", "--minor-changes", "4")
    assert result.code == 0, result.err
    reviews = [review_of(document) for document in office.documents()]
    said = {(review.reading, one.segment_number): one.rating for review in reviews for one in review.segments}
    assert said[1, row.machine.place.segment] == "2"
    assert "4" in said.values()
    assert len(office.ledger.imported(is_waiting=True)) == 1


def test_the_real_table_of_aimi_is_kept_whole(office: Office) -> None:
    path = shared("tables/aimi_lung_ct_qa_results.csv")
    found = imported(office, path)
    assert (found["rows"], found["new"], found["documents"], found["problems"]) == (477, 477, [], [])
    assert imported(office, path)["new"] == 0
    ratings = office.workflow().ratings()
    assert len(ratings) == 477
    assert {rating.reader for rating in ratings} == {"ne1", "rad1", "rad2"}


def test_commands_say_who_has_reviewed_what(office: Office) -> None:
    assert "nobody has signed" in run(office, "list").out
    place = office.places()[0]
    workflow = office.workflow()
    finish(workflow, ANNA, place)
    (written,) = workflow.sign(ANNA, [place.segmentation])
    (row,) = json.loads(run(office, "list", "--json").out)["reviews"]
    assert (row["reader"], row["segments"], row["document"]) == ("anna", [place.segment], written.sop_instance_uid)
    assert "anna" in run(office, "list").out
    assert json.loads(run(office, "repeat", "--share", "1", "--json").out) == {"scheduled": 1}
    assert "0 segments" in run(office, "repeat", "--share", "1").out


def test_commands_assign(office: Office) -> None:
    place = office.places()[0]
    what = f"{place.segmentation}/{place.segment}"
    assert "assigned to ben" in run(office, "assign", what, "ben").out
    assert run(office, "assign", place.segmentation, "carl").code == 0
    assert office.workflow().worklist(ANNA, WorklistFilters(segmentation=place.segmentation), limit=1).rows[
        0
    ].assigned_to == ("ben", "carl")
    assert run(office, "assign", what, "--remove").code == 0
    assert len(office.ledger.assignments()) == 1
    for wrong in (("assign", what), ("assign", "x", "ben"), ("assign", f"{what}/1", "ben"), ("repeat", "--share", "2")):
        assert run(office, *wrong).code == 2


def test_commands_export_what_is_to_be_changed(office: Office, tmp_path: Path) -> None:
    bad, good = office.places()[:2]
    workflow = office.workflow()
    workflow.save(ANNA, Task(bad), said(bad, "1", comment="=gone"), version=0, finish=True)
    finish(workflow, ANNA, good, "5")
    workflow.sign(ANNA, office.segmentations())
    result = run(office, "export", "--major")
    (row,) = csv.DictReader(StringIO(result.out))
    assert (row["segmentation"], row["segment"]) == (bad.segmentation, str(bad.segment))
    assert row["comments"] == "'=gone"
    target = tmp_path / "edits.json"
    assert run(office, "export", "--major", "--json", target, "--no-comments").out == ""
    (one,) = json.loads(target.read_text())["segmentations"]
    assert one["segmentation"]["sop_instance_uid"] == bad.segmentation
    assert run(office, "export").code == 0


def test_a_missing_table_is_a_wrong_call(office: Office, tmp_path: Path) -> None:
    assert run(office, "import", tmp_path / "nothing.csv").code == 2
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    assert run(office, "import", empty).code == 2
    assert run(office, "import", empty, "--reviewer-map", "x").code == 2
