"""The index of findings: how fast documents are read and added, and how long questions take.

``python -m benchmarks.findings [--documents 1000] [--groups 100]``. Documents are made by our own encoder, each of
another case with its own outcomes; the archive itself is left out, only the index is asked.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from segqa_dicom.anatomy import all_structures
from segqa_dicom.checks import Check, Outcome, Severity, all_rules
from segqa_dicom.checks.finding import verdict_of
from segqa_dicom.checks.registry import Scope, rule_titles
from segqa_dicom.findings import FindingsIndex, read_document
from segqa_dicom.findings.filters import parsed_filters
from segqa_dicom.findings.listing import find
from segqa_dicom.findings.query import matching_documents
from segqa_dicom.measures.results import Box, Components, Intensity, SegmentMeasures, Shape
from segqa_dicom.model import CtRecord, Geometry, PatientStudy, Segment, SegmentationType, SegRecord, SliceRef
from segqa_dicom.report.model import CaseReport, RuleSetId, SegmentationReport, SegmentReport
from segqa_dicom.sr import build_documents

_ROOT = "1.2.826.0.1.3680043.10.1.9"
_SLICES = 300
_BATCH = 20
_ITEM = "ContentSequence{}.ConceptNameCodeSequence.CodeValue", "ContentSequence{}.ConceptCodeSequence.CodeValue"
_NUMBER = "ContentSequence.MeasuredValueSequence.NumericValue"


def documents(count: int, groups: int) -> Iterator[bytes]:
    """Reports on as many SEGs, of three models."""
    structures = [one for one in all_structures() if one.codes is not None]
    titles = rule_titles()
    rules = [rule.id for rule in all_rules() if rule.scope is Scope.SEGMENT]
    for number in range(count):
        chosen = (structures * (groups // len(structures) + 1))[:groups]
        chance = random.Random(number)
        segments = tuple(_segment(at, one, rules, chance) for at, one in enumerate(chosen, start=1))
        yield build_documents(_case(number, segments), rule_titles=titles)[0].file


def _segment(number: int, structure: object, rules: list[str], chance: random.Random) -> SegmentReport:
    outcomes = chance.choices(
        (Outcome.PASS, Outcome.WARNING, Outcome.FAIL, Outcome.NOT_RUN), weights=(85, 5, 2, 8), k=len(rules)
    )
    severities = {Outcome.WARNING: Severity.WARNING, Outcome.FAIL: Severity.ERROR}
    checks = tuple(
        Check(rule, outcome, severities.get(outcome, Severity.INFO), f"{chance.randint(2, 9)} parts, largest 61 %")
        if outcome in severities
        else Check(rule, outcome)
        for rule, outcome in zip(rules, outcomes, strict=True)
    )
    voxels = chance.randint(100, 2_000_000)
    counts = np.array([voxels], np.int64)
    components = Components(counts, np.zeros((1, 3), np.int32), np.zeros((1, 6), np.int32))
    shape = Shape(voxels, voxels * 0.001, (1.0, 2.0, 3.0), Box((0, 0, 0), (1, 1, 1)), components)
    codes = structure.codes  # type: ignore[attr-defined]
    return SegmentReport(
        segment=Segment(number, structure.canonical, codes),  # type: ignore[attr-defined]
        structure_key=codes.key,
        measures=SegmentMeasures(shape, Intensity(chance.uniform(-100, 300), 20.0, -90.0, 400.0, 45.0)),
        truncated=False,
        verdict=verdict_of(checks),
        checks=checks,
        risk=chance.random() * 10,
        mean_dice=None,
    )


def _case(number: int, segments: tuple[SegmentReport, ...]) -> CaseReport:
    study = f"{_ROOT}.{number}"
    slices = tuple(SliceRef("1.2.840.10008.5.1.4.1.1.2", f"{study}.1.{at}") for at in range(_SLICES))
    instances = tuple((one.sop_class_uid, one.sop_instance_uid) for one in slices)
    ct = CtRecord(f"{study}.1", study, f"{study}.7", PatientStudy((("PatientID", str(number)),)), slices, instances)
    origins = np.array([[0.0, 0.0, 1.0 * at] for at in range(_SLICES)])
    geometry = Geometry((_SLICES, 512, 512), origins, np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0]), 1.0)
    record = SegRecord(
        f"{study}.2.1",
        "1.2.840.10008.5.1.4.1.1.66.4",
        f"{study}.2",
        study,
        series_description=f"Model {'ABC'[number % 3]} 1.{number % 7}",
        content_date=f"2026{number % 12 + 1:02}{number % 28 + 1:02}",
        content_time="120000",
        file_digest=f"{number:064x}",
    )
    part = SegmentationReport(record, SegmentationType.BINARY, segments, (), None)
    return CaseReport(
        ct=ct,
        geometry=geometry,
        hu_defined=True,
        ruleset=RuleSetId("1.0", "abc"),
        parameters=(),
        findings=(),
        segmentations=(part,),
        comparisons=(),
    )


def _by_dicomweb() -> dict[str, list[tuple[str, str]]]:
    def item(at: str, name: str, value: str) -> list[tuple[str, str]]:
        return [(_ITEM[0].format(at), name), (_ITEM[1].format(at), value)]

    volume = [(_ITEM[0].format(""), "118565006"), (_NUMBER, "1900-")]
    return {
        "refers to a SEG": [("ReferencedSOPInstanceUID", f"{_ROOT}.17.2.1")],
        "refers to a CT slice": [("ReferencedSOPInstanceUID", f"{_ROOT}.17.1.5")],
        "title": [("ConceptNameCodeSequence.CodeValue", "QAREPORT")],
        "T1 failed": item("", "CHK-T1", "FAIL"),
        "T1 passed": item("", "CHK-T1", "PASS"),
        "liver and T1 failed": [*item(".1", "121071", "10200004"), *item(".2", "CHK-T1", "FAIL")],
        "left and T1 passed": [*item(".1", "272741003", "7771000"), *item(".2", "CHK-T1", "PASS")],
        "any failed": [(_ITEM[1].format(""), "FAIL")],
        "volume above 1900 cm3": volume,
        "volume of anything, 0-": [(_ITEM[0].format(""), "118565006"), (_NUMBER, "0-")],
        "text of T1": [(_ITEM[0].format(""), "CHK-T1"), ("ContentSequence.TextValue", "9 parts*")],
        "text anywhere": [("ContentSequence.TextValue", "*vertebrae_T9*")],
    }


_ROWS = (
    "",
    "outcome=FAIL",
    "rule=T1",
    "rule=T1&outcome=FAIL",
    "structure=kidney_left",
    "structure=kidney_left&rule=T1&outcome=FAIL",
    "structure=rib",
    "verdict=unusable&severity=error",
    "severity=warning&rule=T1,T2",
    "model=Model A&outcome=FAIL",
    "date=20260301-20260331",
    f"seg={_ROOT}.17.2.1",
)


def main() -> None:
    """Measure, and print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.findings", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--groups", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="segqa-findings-", dir=os.environ.get("TMPDIR")) as name:
        index = FindingsIndex(Path(name) / "findings.sqlite3")
        _fill(index, options.documents, options.groups, Path(name))
        print("\n| question | median ms | worst ms | answers |\n|---|---|---|---|")
        for words, matches in _by_dicomweb().items():
            _ask(f"QIDO: {words}", lambda m=matches: len(matching_documents(index, m)), options.repeat)  # type: ignore[misc]
        for query in _ROWS:
            filters = parsed_filters([tuple(one.split("=", 1)) for one in query.split("&") if one])  # type: ignore[misc]
            _ask(f"rows: {query or 'all'}", lambda f=filters: find(index, f, limit=100).total, options.repeat)  # type: ignore[misc]
        everything = parsed_filters([])
        total = find(index, everything, limit=0).total
        _ask(
            "rows: all, the last page",
            lambda: find(index, everything, limit=100, offset=total - 100).total,
            options.repeat,
        )


def _fill(index: FindingsIndex, count: int, groups: int, folder: Path) -> None:
    files = documents(count, groups)
    read_s = add_s = 0.0
    size_bytes = 0
    while batch := list(islice(files, _BATCH)):
        paths = []
        for number, file in enumerate(batch):
            size_bytes += len(file)
            paths.append(folder / f"{number}.dcm")
            paths[-1].write_bytes(file)
        begin = time.perf_counter()
        read = [read_document(path) for path in paths]
        middle = time.perf_counter()
        index.add(read)
        read_s, add_s = read_s + middle - begin, add_s + time.perf_counter() - middle
    size = index.size()
    on_disk = index.path.stat().st_size
    print(
        f"{size.documents} documents of {size_bytes / count / 1e3:.0f} kB, {size.groups} groups, {size.items} items; "
        f"read in {read_s:.1f} s, added in {add_s:.1f} s: {count / (read_s + add_s):.1f} documents/s; "
        f"index {on_disk / 1e6:.0f} MB"
    )


def _ask(words: str, question: Callable[[], int], repeat: int) -> None:
    seconds, answers = [], 0
    for _ in range(repeat):
        begin = time.perf_counter()
        answers = question()
        seconds.append(time.perf_counter() - begin)
    print(f"| {words} | {1e3 * statistics.median(seconds):.1f} | {1e3 * max(seconds):.1f} | {answers} |", flush=True)


if __name__ == "__main__":
    main()
