"""Findings as files for other programs: CSV, Parquet."""

from __future__ import annotations

import csv
import io
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from segqa_dicom.errors import ConfigurationError
from segqa_dicom.findings.listing import COLUMNS, Row

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a text begins with that spreadsheets take for a formula, or cut off before they look."""


def csv_parts(pages: Iterable[Sequence[Row]]) -> Iterator[str]:
    """Findings as CSV (RFC 4180), a part for the heading and for each page.

    Texts are of whoever wrote a document. One that a spreadsheet would run as a formula gets an apostrophe before it,
    by which spreadsheets know a text; numbers are numbers.
    """
    yield _lines([COLUMNS])
    for page in pages:
        yield _lines([[spreadsheet_cell(value) for value in astuple(row)] for row in page])


def _lines(rows: Iterable[Sequence[object]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerows(rows)
    return buffer.getvalue()


def spreadsheet_cell(value: object) -> object:
    """A value for a cell of CSV: what a spreadsheet would run as a formula becomes a text, None becomes empty.

    The coordinates of a point are separated by spaces.
    """
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA):
        return f"'{value}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return "" if value is None else value


def write_parquet(pages: Iterable[Sequence[Row]], path: Path) -> int:
    """Write findings as a Parquet file, whole or not at all; returns how many.

    Raises `ConfigurationError` if pyarrow is not installed, or the file cannot be written.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigurationError("Parquet needs pyarrow: pip install 'segqa[parquet]'") from error
    kinds: dict[str, Any] = {
        "str": pa.string(),
        "int": pa.int32(),
        "bool": pa.bool_(),
        "float | None": pa.float64(),
        "PointMm | None": pa.list_(pa.float64()),
    }
    schema = pa.schema([(one.name, kinds[str(one.type)]) for one in fields(Row)])
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    count = 0
    try:
        with parquet.ParquetWriter(part, schema, compression="zstd") as writer:
            for page in pages:
                columns = list(zip(*(astuple(row) for row in page), strict=True))
                writer.write_table(pa.table(dict(zip(COLUMNS, map(list, columns), strict=True)), schema=schema))
                count += len(page)
        part.replace(path)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return count
