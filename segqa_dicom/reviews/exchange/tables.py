"""Tables of ratings that other projects and programs write: text in, rows and problems out.

Two layouts are known. AIMI: the quality tables of the AIMI data sets (Murugesan 2024, Scientific Data), one line per
reader and segmentation. SegmentationReview: the ``annotations.csv`` that this extension of 3D Slicer appends to, one
file per reader, usually without a header.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from io import StringIO

from segqa_dicom.dicom.uids import normalised_uid
from segqa_dicom.errors import Inconsistent, InputError, UnreadableObject

NOT_ASSESSABLE = "na"
"""Id of the rating that is no grade."""


class Layout(StrEnum):
    """Which program or project a table is from."""

    AIMI = "aimi"
    SEGMENTATION_REVIEW = "segmentation-review"


@dataclass(frozen=True, slots=True)
class TableRow:
    """What one reader said about one segmentation.

    line : of the file, counted from 1, where the row begins
    reader : empty if the table does not say
    rating : id of a rating of the vocabulary, ``5`` to ``1`` or ``na``
    comment : about the segmentation; scan_comment about the image
    study, ct_series : UIDs; empty if the table does not say
    image, segmentation : file names as they are in the table
    corrected : file name of the segmentation as the reader corrected it
    patient : Patient ID, only to tell which rows belong to the same patient; never shown
    """

    line: int
    reader: str
    rating: str
    comment: str = ""
    scan_comment: str = ""
    study: str = ""
    ct_series: str = ""
    image: str = ""
    segmentation: str = ""
    corrected: str = ""
    patient: str = ""
    collection: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that could not be used, and why, in words that hold nothing of its content but the rating."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Table:
    """All that a table says. Every line with content is in `rows` or in `problems`."""

    layout: Layout
    rows: tuple[TableRow, ...]
    problems: tuple[Problem, ...] = ()


_AIMI = (
    "Reviewer", "StudyInstanceUID", "SeriesInstanceUID", "AISegmentation", "LikertScore",
)  # fmt: skip
"""Columns that must be there."""
_AIMI_OPTIONAL = (
    "Collection", "PatientID", "CommentsAboutAISegmentation", "CommentsAboutScan", "CorrectedSegmentation",
)  # fmt: skip
_SEGMENTATION_REVIEW = ("file", "annotation", "comment", "mask_path", "mask_status")
"""Columns in the order in which SegmentationReview writes them; older versions end after the third."""
_OTHER_NAMES = {"rating": "annotation", "mask file": "mask_path", "mask": "mask_path"}
_SAVED_OVER = "3"
"""`mask_status` of a segmentation that the reader has corrected: the path is that of the corrected one."""
_MINOR_CHANGES = "2"
_RATINGS_OF_SEGMENTATION_REVIEW = {"1": "5", "3": "2", "4": "1", "5": NOT_ASSESSABLE}
"""1 acceptable, 2 acceptable with minor changes, 3 unacceptable, 4 not visible or in the wrong place, 5 bad image."""

_LONGEST_QUOTED = 16

_Fields = Mapping[str, str]


def decoded(data: bytes) -> str:
    """The text of a table: UTF-8 or UTF-16 with a byte order mark, UTF-8 without, or else Windows-1252.

    Raises `UnreadableObject` for what is none of these.
    """
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return _text(data, encoding)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return _text(data, "cp1252")


def _text(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnreadableObject(
            f"the table is no text in UTF-8, UTF-16 or Windows-1252; save it as UTF-8 ({error.reason})"
        ) from error


def read_table(text: str, *, layout: Layout | None = None, reader: str = "", minor_changes: str = "") -> Table:
    """The rows of a table, separated by commas, semicolons or tabs; line breaks within quotation marks are content.

    layout : None = as its first line says
    reader : of all rows of a table that names none
    minor_changes : which rating "acceptable, minor changes needed" of SegmentationReview is, ``3`` or ``4``: its words
        lie between the two
    Raises `UnreadableObject` if the text is no such table, `Inconsistent` if columns are missing (it names them), or if
    `minor_changes` is needed and not given. Lines that cannot be used are in `Table.problems`: without a rating, with
    one that is no grade, broken, or the same as an earlier one.
    """
    lines = list(_lines(text.removeprefix("\ufeff")))
    first = next((cells for _, cells, _ in lines if cells), ())
    if not first:
        raise UnreadableObject("the table is empty")
    layout = layout or _layout_of(first)
    columns, has_header = _columns(first, layout)
    read = _aimi_row if layout is Layout.AIMI else _rows_of_segmentation_review(reader, minor_changes)
    rows, problems = [], []
    seen: dict[tuple[str, ...], int] = {}
    for line, cells, broken in lines:
        if has_header and cells is first:
            continue
        try:
            if broken:
                raise Inconsistent(broken)
            if cells in seen:
                raise Inconsistent(f"the same as line {seen[cells]}")
            rows.append(read(line, _fields(cells, columns)))
        except _Unanswered:
            raise
        except InputError as error:
            problems.append(Problem(line, str(error)))
        seen.setdefault(cells, line)
    return Table(layout, tuple(rows), tuple(problems))


class _Unanswered(Inconsistent):
    """The table can only be read if the caller says more."""


def _lines(text: str) -> Iterator[tuple[int, tuple[str, ...], str]]:
    """Where each row begins, its cells, and what is wrong with it; rows without content are left out."""
    rows = csv.reader(StringIO(text, newline=""), delimiter=_separator(text), strict=True)
    while True:
        line = rows.line_num + 1
        try:
            cells = tuple(cell.strip() for cell in next(rows))
        except StopIteration:
            return
        except csv.Error as error:
            yield line, (), f"the line is broken: {error}"
            continue
        if any(cells):
            yield line, cells, ""


def _separator(text: str) -> str:
    """The one of comma, semicolon and tab that is most often in the first line with content."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return max(",;\t", key=first.count)


def _layout_of(first: Sequence[str]) -> Layout:
    named = {cell.casefold() for cell in first}
    if len(named & {name.casefold() for name in _AIMI}) > 1:
        return Layout.AIMI
    if _is_header_of_segmentation_review(first) or _is_row_of_segmentation_review(first):
        return Layout.SEGMENTATION_REVIEW
    raise UnreadableObject(
        f"the table has neither the columns of AIMI ({', '.join(_AIMI)}) nor those of SegmentationReview "
        f"({', '.join(_SEGMENTATION_REVIEW)})"
    )


def _is_header_of_segmentation_review(first: Sequence[str]) -> bool:
    return "file" in {cell.casefold() for cell in first}


def _is_row_of_segmentation_review(first: Sequence[str]) -> bool:
    return 2 <= len(first) <= len(_SEGMENTATION_REVIEW) and first[1] in ("", *"012345")


def _columns(first: Sequence[str], layout: Layout) -> tuple[tuple[str, ...], bool]:
    """Names of the columns, as we call them, and whether the first line is what names them."""
    if layout is Layout.SEGMENTATION_REVIEW and not _is_header_of_segmentation_review(first):
        if not _is_row_of_segmentation_review(first):
            raise Inconsistent(f"the table lacks the columns {', '.join(_SEGMENTATION_REVIEW[:2])}")
        return _SEGMENTATION_REVIEW, False
    known = {name.casefold(): name for name in (*_AIMI, *_AIMI_OPTIONAL, *_SEGMENTATION_REVIEW)} | _OTHER_NAMES
    columns = tuple(known.get(cell.casefold(), cell) for cell in first)
    needed = _AIMI if layout is Layout.AIMI else _SEGMENTATION_REVIEW[:2]
    if missing := [name for name in needed if name not in columns]:
        raise Inconsistent(f"the table lacks the columns {', '.join(missing)}")
    if twice := sorted({name for name in (*needed, *_AIMI_OPTIONAL) if columns.count(name) > 1}):
        raise Inconsistent(f"the table has the columns {', '.join(twice)} twice")
    return columns, True


def _fields(cells: Sequence[str], columns: Sequence[str]) -> _Fields:
    if any(cells[len(columns) :]):
        raise Inconsistent(f"{len(cells)} cells for {len(columns)} columns")
    return dict.fromkeys(columns, "") | dict(zip(columns, cells, strict=False))


def _aimi_row(line: int, fields: _Fields) -> TableRow:
    return TableRow(
        line=line,
        reader=_there(fields, "Reviewer"),
        rating=_grade(fields["LikertScore"]),
        comment=fields.get("CommentsAboutAISegmentation", ""),
        scan_comment=fields.get("CommentsAboutScan", ""),
        study=normalised_uid(fields["StudyInstanceUID"], what="StudyInstanceUID"),
        ct_series=normalised_uid(fields["SeriesInstanceUID"], what="SeriesInstanceUID"),
        segmentation=_there(fields, "AISegmentation"),
        corrected=fields.get("CorrectedSegmentation", ""),
        patient=fields.get("PatientID", ""),
        collection=fields.get("Collection", ""),
    )


def _rows_of_segmentation_review(reader: str, minor_changes: str) -> Callable[[int, _Fields], TableRow]:
    if minor_changes not in ("", "3", "4"):
        raise Inconsistent(f"minor changes are the rating 3 or 4, not {minor_changes}")
    ratings = {**_RATINGS_OF_SEGMENTATION_REVIEW, _MINOR_CHANGES: minor_changes}

    def row(line: int, fields: _Fields) -> TableRow:
        grade = _grade(fields["annotation"])
        if not ratings[grade]:
            raise _Unanswered(
                f"line {line}: SegmentationReview's 2 (acceptable, minor changes) is either 3 (minor edits needed) or "
                "4 (stylistic edits only); say which"
            )
        is_saved_over = fields["mask_status"].removesuffix(".0") == _SAVED_OVER if "mask_status" in fields else False
        mask = fields.get("mask_path", "")
        return TableRow(
            line=line,
            reader=reader,
            rating=ratings[grade],
            comment=fields.get("comment", ""),
            image=_there(fields, "file"),
            segmentation="" if is_saved_over else mask,
            corrected=mask if is_saved_over else "",
        )

    return row


def _there(fields: _Fields, name: str) -> str:
    if not fields[name]:
        raise Inconsistent(f"without {name}")
    return fields[name]


def _grade(text: str) -> str:
    """``1`` to ``5``; spreadsheets make ``5.0`` of them, and SegmentationReview writes 0 where nothing was chosen."""
    grade = text.removesuffix(".0")
    if grade in ("", "0"):
        raise Inconsistent("without a rating")
    if grade not in ("1", "2", "3", "4", "5"):
        raise Inconsistent(f"the rating {text[:_LONGEST_QUOTED]!r} is no whole number from 1 to 5")
    return grade
