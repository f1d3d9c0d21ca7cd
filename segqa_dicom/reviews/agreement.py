"""How far readers agree: with each other, and with themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from segqa_dicom.reviews.tables import NOT_ASSESSABLE, Table, TableRow


@dataclass(frozen=True, slots=True)
class Rating:
    """What one reader said about one thing in one reading.

    reader : login or name, the same for all ratings of a reader
    subject : what was rated; readers who rated the same thing have the same text here
    structure : canonical name, or label of the segment; empty if the whole segmentation was rated
    rating : 5 (use as is) to 1 (unusable); None = not assessable, which is no grade
    reading : 1, and higher for repeats of the same reader
    source : where it is from: a file, or a document
    cluster : what subjects have in common that are not independent of each other (the segmentation, the patient);
        empty = each subject stands by itself
    """

    reader: str
    subject: str
    structure: str
    rating: int | None
    reading: int
    source: str
    cluster: str = ""


def ratings_of_tables(tables: Sequence[tuple[str, Table]]) -> list[Rating]:
    """The ratings in tables, each with what it is called; subjects are the same whichever table they are in.

    Lines of one reader about the same subject are readings 1, 2, ... in their order. File paths that differ between
    computers are told apart by as many of their last parts as are needed within a table.
    """
    depth = _depth([table.rows for _, table in tables])
    readings: Counter[tuple[str, str]] = Counter()
    ratings = []
    for source, table in tables:
        for row in table.rows:
            subject = _subject(row, depth)
            readings[row.reader, subject] += 1
            ratings.append(
                Rating(
                    reader=row.reader,
                    subject=subject,
                    structure="",
                    rating=None if row.rating == NOT_ASSESSABLE else int(row.rating),
                    reading=readings[row.reader, subject],
                    source=source,
                    cluster=row.patient,
                )
            )
    return ratings


def _subject(row: TableRow, depth: int) -> str:
    if row.ct_series:
        return f"{row.ct_series}/{row.segmentation}"
    return "/".join(_parts(row.image)[-depth:])


def _parts(path: str) -> list[str]:
    return path.replace("\\", "/").split("/")


def _depth(tables: Iterable[Sequence[TableRow]]) -> int:
    """How many of the last parts of its paths tell the images of each table apart."""
    needed = 1
    for rows in tables:
        paths = {tuple(_parts(row.image)) for row in rows if not row.ct_series}
        while len({path[-needed:] for path in paths}) < len(paths):
            needed += 1
    return needed
