from __future__ import annotations

from collections import Counter

import pytest

from segqa_dicom.errors import Inconsistent, UnreadableObject
from segqa_dicom.reviews.exchange.tables import Layout, Table, decoded, read_table
from segqa_dicom.reviews.statistics.agreement import ratings_of_tables
from tests.shared import shared

HEADER = "Reviewer,StudyInstanceUID,SeriesInstanceUID,AISegmentation,LikertScore,CommentsAboutAISegmentation\n"


def aimi(*lines: str) -> Table:
    return read_table(HEADER + "".join(f"{line}\n" for line in lines))


def test_the_published_table_of_aimi_is_read_completely() -> None:
    data = shared("tables", "aimi_lung_ct_qa_results.csv").read_bytes()
    table = read_table(decoded(data))
    assert (table.layout, len(table.rows), table.problems) == (Layout.AIMI, 477, ())
    assert Counter(row.reader for row in table.rows) == {"rad1": 115, "rad2": 299, "ne1": 63}
    assert Counter(row.rating for row in table.rows) == {"5": 217, "4": 93, "3": 121, "2": 44, "1": 2}
    first = table.rows[0]
    assert (first.line, first.comment) == (2, "Adequate segmentation of lungs and nodules.")
    assert (first.segmentation, first.collection) == ("ai_PD-1-Lung-00005_20090604_0.seg.dcm", "anti_pd_1_lung")


def test_lines_that_cannot_be_used_are_named_and_the_others_are_read() -> None:
    table = aimi(
        "anna,1.2,1.2.3,a.dcm,4,good",
        "anna,1.2,1.2.4,b.dcm,,no grade",
        "anna,1.2,1.2.5,c.dcm,excellent,word",
        "anna,1.2,1.2.6,d.dcm,6,beyond",
        "anna,1.2,1.2.7,e.dcm,3.5,between",
        ",1.2,1.2.8,f.dcm,3,nobody",
        "anna,1.2,nothing,g.dcm,3,no series",
        "anna,1.2,1.2.9,h.dcm,5.0,by a spreadsheet",
        "anna,1.2,1.2.3,a.dcm,4,good",
        "anna,1.2,1.2.3,a.dcm,4,good,one,more",
    )
    assert [(row.line, row.rating) for row in table.rows] == [(2, "4"), (9, "5")]
    assert {problem.line: problem.message for problem in table.problems} == {
        3: "without a rating",
        4: "the rating 'excellent' is no whole number from 1 to 5",
        5: "the rating '6' is no whole number from 1 to 5",
        6: "the rating '3.5' is no whole number from 1 to 5",
        7: "without Reviewer",
        8: "SeriesInstanceUID is not a valid UID",
        10: "the same as line 2",
        11: "8 cells for 6 columns",
    }


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_are_found(separator: str) -> None:
    text = (HEADER + "anna,1.2,1.2.3,a.dcm,4,good\n").replace(",", separator)
    assert [row.comment for row in read_table(text).rows] == ["good"]


@pytest.mark.parametrize(
    "encode",
    [
        pytest.param(lambda text: text.encode(), id="UTF-8"),
        pytest.param(lambda text: text.encode("utf-8-sig"), id="UTF-8 with mark"),
        pytest.param(lambda text: text.encode("utf-16"), id="UTF-16"),
        pytest.param(lambda text: text.encode("cp1252"), id="Windows"),
    ],
)
def test_encodings_are_found(encode) -> None:
    table = read_table(decoded(encode(HEADER + "Jürgen,1.2,1.2.3,a.dcm,4,größer\n")))
    assert [(row.reader, row.comment) for row in table.rows] == [("Jürgen", "größer")]


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(UnreadableObject, match="save it as UTF-8"):
        decoded(b"\xff\xfe\x00")
    with pytest.raises(UnreadableObject, match="save it as UTF-8"):
        decoded(b"\x81\x8d\x8f")


def test_line_breaks_in_comments_are_content_and_lines_stay_those_of_the_file() -> None:
    table = aimi('anna,1.2,1.2.3,a.dcm,4,"first\nsecond, with ""quotes"""', "", "anna,1.2,1.2.4,b.dcm,x,", "", "")
    assert table.rows[0].comment == 'first\nsecond, with "quotes"'
    assert [problem.line for problem in table.problems] == [5]


def test_a_quotation_mark_that_is_never_closed_is_named() -> None:
    table = aimi("anna,1.2,1.2.3,a.dcm,4,good", 'anna,1.2,1.2.4,b.dcm,4,"open')
    assert len(table.rows) == 1
    assert [(problem.line, problem.message) for problem in table.problems] == [
        (3, "the line is broken: unexpected end of data")
    ]


def test_missing_columns_are_named() -> None:
    with pytest.raises(Inconsistent, match="the columns StudyInstanceUID, LikertScore"):
        read_table("Reviewer,SeriesInstanceUID,AISegmentation\n")
    with pytest.raises(Inconsistent, match="the columns annotation"):
        read_table("file,comment\n")
    with pytest.raises(Inconsistent, match="LikertScore twice"):
        read_table(HEADER.strip() + ",LikertScore\n")


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff"])
def test_an_empty_table_is_refused(text: str) -> None:
    with pytest.raises(UnreadableObject, match="empty"):
        read_table(text)


def test_a_table_of_something_else_is_refused() -> None:
    with pytest.raises(UnreadableObject, match="neither the columns of AIMI"):
        read_table("name,age\nsomebody,40\n")


def test_annotations_of_segmentation_review_have_no_header() -> None:
    text = (
        "/data/a.nii.gz,1,,/data/a_mask.nii.gz,2\n"
        "/data/b.nii.gz,3,leak,/data/b_mask.nii.gz,2\n"
        "/data/c.nii.gz,4,,,0\n"
        "/data/d.nii.gz,5,motion,/data/d_mask.nii.gz,2\n"
        "/data/e.nii.gz,0,,,0\n"
        "/data/f.nii.gz,2,,/data/f_mask_2026.nii.gz,3\n"
    )
    table = read_table(text, reader="anna", minor_changes="4")
    assert table.layout is Layout.SEGMENTATION_REVIEW
    assert [row.rating for row in table.rows] == ["5", "2", "1", "na", "4"]
    assert {row.reader for row in table.rows} == {"anna"}
    assert [(problem.line, problem.message) for problem in table.problems] == [(5, "without a rating")]
    assert (table.rows[1].segmentation, table.rows[1].comment) == ("/data/b_mask.nii.gz", "leak")
    assert (table.rows[4].segmentation, table.rows[4].corrected) == ("", "/data/f_mask_2026.nii.gz")


def test_minor_changes_of_segmentation_review_are_asked_for_only_if_they_occur() -> None:
    assert len(read_table("a.nii,1,\n", reader="anna").rows) == 1
    with pytest.raises(Inconsistent, match=r"line 2.*say which"):
        read_table("a.nii,1,\nb.nii,2,\n", reader="anna")
    with pytest.raises(Inconsistent, match="3 or 4"):
        read_table("a.nii,1,\n", minor_changes="5")


def test_a_header_of_segmentation_review_may_be_there() -> None:
    table = read_table("File;Rating;Comment\na.nii;1;fine\n", reader="anna")
    assert [(row.line, row.image, row.rating, row.comment) for row in table.rows] == [(2, "a.nii", "5", "fine")]


def test_files_of_two_readers_are_about_the_same_images_wherever_these_lay() -> None:
    anna = read_table("/home/anna/set/1/ct.nii,1,\n/home/anna/set/2/ct.nii,3,\n", reader="anna")
    bert = read_table("D:\\set\\2\\ct.nii,5,\n", reader="bert")
    ratings = ratings_of_tables([("a.csv", anna), ("b.csv", bert)])
    assert [(one.reader, one.subject, one.rating) for one in ratings] == [
        ("anna", "1/ct.nii", 5),
        ("anna", "2/ct.nii", 2),
        ("bert", "2/ct.nii", None),
    ]


def test_a_second_line_of_a_reader_about_the_same_is_a_second_reading() -> None:
    table = read_table("a.nii,1,\nb.nii,1,\na.nii,3,\n", reader="anna")
    assert [one.reading for one in ratings_of_tables([("a.csv", table)])] == [1, 1, 2]
