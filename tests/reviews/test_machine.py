"""What a page shows of the machine's documents, against the report that they were made from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from segqa_dicom.model import SegmentRef
from segqa_dicom.report.model import SegmentationReport, SegmentReport
from segqa_dicom.reviews.workflow.machine import machine_view
from segqa_dicom.reviews.workflow.model import MachineView
from segqa_dicom.sr.kinds import Kind
from segqa_dicom.sr.segment_items import name_of
from tests.phantom_studies import phantom_study
from tests.reviews.machine_cases import ReviewedCase, reviewed_case
from tests.shared import shared

OUTCOMES = {"pass": "PASS", "warning": "WARN", "fail": "FAIL", "not_run": "NOTRUN"}


@pytest.fixture(
    scope="module",
    params=["phantom", pytest.param("A", marks=pytest.mark.shared), pytest.param("B", marks=pytest.mark.shared)],
)
def one(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReviewedCase]:
    folder = tmp_path_factory.mktemp("machine")
    if request.param == "phantom":
        dicom = folder / "dicom"
        phantom_study(dicom, (64, 80, 96))
    else:
        dicom = shared("data", f"case_{request.param}")
    found = reviewed_case(dicom, folder / "archive", is_stored=False)
    yield found
    found.archive.close()


def structures(one: ReviewedCase) -> Iterator[tuple[SegmentationReport, SegmentReport, MachineView]]:
    for part in one.report.segmentations:
        for structure in part.segments:
            place = SegmentRef(part.record.sop_instance_uid, structure.segment.number)
            view = machine_view(one.index, place)
            assert view is not None
            assert view.segment.place == place
            yield part, structure, view


def test_segments_are_those_of_the_report(one: ReviewedCase) -> None:
    for _, structure, view in structures(one):
        assert view.segment.label in (name_of(structure.segment), structure.segment.tracking_id)
        assert view.segment.verdict == structure.verdict
        assert view.segment.risk == pytest.approx(structure.risk, rel=1e-6)
        complaints = {one.rule for one in structure.failed_checks} | {one.rule for one in structure.findings}
        assert complaints == {*view.segment.rules}
        for check in structure.failed_checks:
            assert check.message in view.segment.reason or view.segment.reason.endswith("...")


def test_checks_stand_with_complaints_first(one: ReviewedCase) -> None:
    for _, structure, view in structures(one):
        expected = sorted(
            [(check.rule, OUTCOMES[check.outcome]) for check in structure.checks]
            + [(found.rule, OUTCOMES[found.outcome]) for found in structure.findings]
        )
        assert sorted((check.rule, check.outcome) for check in view.checks) == expected
        ranks = [["FAIL", "WARN", "NOTRUN", "PASS"].index(check.outcome) for check in view.checks]
        assert ranks == sorted(ranks)
        said = {(check.rule, check.message) for check in view.checks}
        assert {(check.rule, check.message) for check in structure.checks if check.message.isascii()} <= said
        assert all(check.title for check in view.checks)


def test_numbers_are_those_that_were_measured(one: ReviewedCase) -> None:
    for _, structure, view in structures(one):
        shape, numbers = structure.measures.shape, dict(view.numbers)
        if not shape.voxel_count:
            assert numbers == {}
            continue
        assert numbers["Voxels"] == f"{shape.voxel_count:,}"
        assert float(numbers["Volume"].removesuffix(" mL").replace(",", "")) == pytest.approx(
            shape.volume_ml, rel=0.006, abs=6e-4
        )
        assert numbers["Parts"] == str(shape.components.count)
        assert structure.measures.intensity is not None
        assert float(numbers["Mean"].removesuffix(" HU")) == pytest.approx(
            structure.measures.intensity.mean_hu, abs=0.51
        )
        assert next(iter(numbers)) == "Volume"
        assert list(numbers)[-1] == "Risk score"


def test_findings_of_the_whole_are_shown_where_they_belong(one: ReviewedCase) -> None:
    shown = 0
    for part, structure, view in structures(one):
        uids = {other.record.sop_instance_uid for other in one.report.segmentations}
        of_case = [
            f for f in one.report.findings if part.record.sop_instance_uid in (uids & {*f.sop_instance_uids} or uids)
        ]
        keys = {other.structure_key for other in part.segments}
        expected = [
            found.message
            for found in (*part.findings, *of_case)
            if found.is_failed
            and (structure.structure_key in found.structure_keys or not keys & {*found.structure_keys})
        ]
        assert len(view.findings) == len(expected)
        assert all(any(message in line for line in view.findings) for message in expected)
        shown += len(expected)
    failed = [f for p in one.report.segmentations for f in (*p.findings, *one.report.findings) if f.is_failed]
    assert bool(shown) == bool(failed)


def compared(one: ReviewedCase, place: SegmentRef) -> dict[SegmentRef, dict[str, float | None]]:
    """Numbers of all pairs that have a document, seen from `place`."""
    written = {frozenset(document.references) for document in one.documents if document.kind is Kind.COMPARE}
    volumes = {
        SegmentRef(part.record.sop_instance_uid, s.segment.number): s.measures.shape.volume_ml
        for part in one.report.segmentations
        for s in part.segments
    }
    found = {}
    for pair in one.report.comparisons:
        if frozenset((pair.evaluated, pair.reference)) not in written:
            continue
        for row in pair.segments:
            ends = (
                SegmentRef(pair.evaluated, row.evaluated_segment),
                SegmentRef(pair.reference, row.reference_segment),
            )
            if place not in ends or not all(volumes[end] for end in ends):
                continue
            other = ends[1] if ends[0] == place else ends[0]
            found[other] = {
                "dice": row.dice,
                "nsd": row.nsd,
                "hd95_mm": row.hd95_mm,
                "assd_mm": row.assd_mm,
                "volume_difference_percent": 100.0 * (volumes[place] - volumes[other]) / volumes[other],
            }
    return found


def test_comparisons_are_seen_from_the_segment(one: ReviewedCase) -> None:
    count = 0
    for _, _, view in structures(one):
        expected = compared(one, view.segment.place)
        assert {SegmentRef(row.segmentation, row.segment) for row in view.comparisons} == set(expected)
        for row in view.comparisons:
            numbers = expected[SegmentRef(row.segmentation, row.segment)]
            for name, value in numbers.items():
                assert getattr(row, name) == pytest.approx(value, rel=1e-5, abs=1e-5), name
            other = next(p for p in one.report.segmentations if p.record.sop_instance_uid == row.segmentation)
            assert row.model == other.record.series_description
            count += 1
        dice = [row.dice for row in view.comparisons if row.dice is not None]
        assert dice == sorted(dice)
    assert count > 10


def test_locations_are_where_the_rules_saw_something(one: ReviewedCase) -> None:
    located = 0
    for _, structure, view in structures(one):
        expected = [c.location_mm for c in structure.failed_checks if c.location_mm is not None]
        shown = np.array(view.locations_mm).reshape(-1, 3)
        for point in expected:
            assert np.abs(shown - np.array(point)).max(axis=1).min() <= 1e-4
            located += 1
        for check in view.checks:
            same = [c for c in structure.failed_checks if c.rule == check.rule and c.location_mm is not None]
            if check.location_mm is not None and same:
                assert check.location_mm in view.locations_mm
        if not structure.failed_checks and not structure.findings:
            assert view.locations_mm == ()
    assert located > 0


def test_the_whole_has_all_findings(one: ReviewedCase) -> None:
    for part in one.report.segmentations:
        view = machine_view(one.index, SegmentRef(part.record.sop_instance_uid, 0))
        assert view is not None
        assert view.numbers == ()
        assert view.comparisons == ()
        for found in part.findings:
            if found.is_failed:
                assert any(found.message in line for line in view.findings)


def test_what_has_no_report_has_no_view(one: ReviewedCase) -> None:
    assert machine_view(one.index, SegmentRef("1.2.3", 1)) is None
    uid = one.report.segmentations[0].record.sop_instance_uid
    assert machine_view(one.index, SegmentRef(uid, 9999)) is None
