"""Programs of others read the documents of readers without an error, and highdicom writes the same ones."""

from __future__ import annotations

import warnings
from pathlib import Path

import highdicom as hd
import pytest
from pydicom import dcmread

from segqa_dicom.assessment.model import Location, Purpose, Review, Reviewer, SegmentReview
from segqa_dicom.model import WHOLE
from segqa_dicom.sr import Document, Kind, Predecessor, codes, file_name, write
from tests import validators
from tests.shared import shared

from .factories import ct_record
from .readers import (
    GREEK,
    MADE_AT,
    READER,
    REPORT,
    box_around,
    case_in,
    documents,
    documents_on,
    found,
    middle_of,
    model,
    review,
    rich_review,
)
from .reading import groups, numbers
from .reference import file_about
from .test_validators import twin

EARLIER = Predecessor("1.2.826.0.1.98.1", "1.2.826.0.1.98")
EARLIER_MARKERS = Predecessor("1.2.826.0.1.98.2", "1.2.826.0.1.98")
CONSIDERED = (Predecessor("1.2.826.0.1.96.1", "1.2.826.0.1.96"), Predecessor("1.2.826.0.1.95.1", "1.2.826.0.1.95"))
ONE_FOR_ALL = {Kind.REVIEW: EARLIER, Kind.REVIEW_KEYIMG: EARLIER_MARKERS}
WHOLE_ONLY = review(SegmentReview(WHOLE, "2", (found("leak", "minor"),), comment="\u4e0b\u6975"))
CASES = {
    "rich": (rich_review(), {}),
    "unsigned": (rich_review(is_signed=False), {}),
    "adjudication": (rich_review(purpose=Purpose.ADJUDICATION), {"considered": CONSIDERED}),
    "amended": (rich_review(), {"earlier": ONE_FOR_ALL}),
    "whole": (WHOLE_ONLY, {"report": None, "earlier": ONE_FOR_ALL}),
    "enhanced": (rich_review(), {"ct": ct_record(enhanced=True)}),
    "anonymous": (review(reviewer=Reviewer("a", "=\u5c71\u7530^\u592a\u90ce")), {"ct": ct_record(patient=())}),
    "odd": (review(SegmentReview(1, "2", (found("a word longer than sixteen", comment="\U0001f9e0"),))), {}),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Document]:
    folder = tmp_path_factory.mktemp("reviews")
    made = {
        folder / f"{name}_{file_name(document)}": document
        for name, (said, options) in CASES.items()
        for document in documents(said, **options)
    }
    for path, document in made.items():
        write(document, path)
    return made


@pytest.mark.parametrize("name", CASES)
def test_every_file_is_what_highdicom_writes(name: str) -> None:
    said, options = CASES[name]
    written = documents(said, **options)
    itself = Predecessor(written[0].sop_instance_uid, written[0].series_instance_uid)
    report, considered = options.get("report", REPORT), options.get("considered", ())
    earlier = options.get("earlier", {})
    cited = {Kind.REVIEW: (*([report] if report else []), *considered), Kind.REVIEW_KEYIMG: (itself,)}
    replaced = {kind: [one] for kind, one in earlier.items()}
    if len(written) == 1:
        replaced = {Kind.REVIEW: [*earlier.values()]}
    signed_by = said.reviewer if said.reviewer.organization else Reviewer("a", said.reviewer.name, "Not stated")
    for document in written:
        assert document.file == file_about(
            document,
            options.get("ct", ct_record()),
            [model().record],
            replaced=replaced.get(document.kind, []),
            cited=cited[document.kind],
            signed_by=signed_by if said.is_signed else None,
            signed_at=MADE_AT,
        )


@pytest.mark.servers
def test_dciodvfy_finds_no_error(files: dict[Path, Document]) -> None:
    assert {path.name: validators.dciodvfy_errors(path) for path in files} == {path.name: [] for path in files}


@pytest.mark.servers
def test_dcmtk_reads_every_tree_and_every_letter(files: dict[Path, Document]) -> None:
    dumps = {path.name: validators.dsrdump(path) for path in files}
    for path, document in files.items():
        assert dumps[path.name].count('"Measurement Group")=SEPARATE') == len(groups(document.dataset))
    rich = next(dump for name, dump in dumps.items() if name.startswith("rich_review_2"))
    for words in (READER.name, READER.organization, GREEK, "\u4e0b\u6975", "Verifying Observers"):
        assert words in rich


@pytest.mark.servers
def test_dcmqi_reads_all_groups_with_what_is_said(files: dict[Path, Document], tmp_path: Path) -> None:
    for path, document in files.items():
        if not groups(document.dataset):
            continue
        read = validators.tid1500_groups(path, tmp_path / "out.json")
        assert [len(one["measurementItems"]) for one in read] == [  # type: ignore[arg-type]
            len(numbers(group)) for group in groups(document.dataset)
        ]
        if document.kind is Kind.REVIEW and path.name.startswith("rich"):
            said = [one["conceptValue"] for one in read[0]["qualitativeEvaluations"]]  # type: ignore[attr-defined]
            assert [one["CodeValue"] for one in said if isinstance(one, dict)] == [
                *("R2", "QF-LEAK", "QF-HOLE", "QF-UNDER", "QF-LEAK", "ACT-EDIT", "CONF-HIGH")
            ]


@pytest.mark.servers
def test_highdicom_reads_all_groups_with_what_is_said(files: dict[Path, Document]) -> None:
    for path, document in files.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the order of items
            content = hd.sr.srread(path).content
        (observer,) = content.get_observer_contexts(observer_type=codes_person())
        assert str(observer.observer_identifying_attributes.name) == str(document.dataset.ContentSequence[2].PersonName)
        if document.kind is Kind.REVIEW:
            read = content.get_volumetric_roi_measurement_groups() if groups(document.dataset) else []
            assert len(read) == len(groups(document.dataset))
            assert all(group.get_qualitative_evaluations() for group in read)
        else:
            assert len(content.get_image_measurement_groups()) == len(groups(document.dataset))


def codes_person() -> hd.sr.CodedConcept:
    return hd.sr.CodedConcept(codes.PERSON.value, codes.PERSON.scheme, codes.PERSON.meaning)


def retitled(document: Document, folder: Path, name: str) -> Path:
    """The document under the only title that PixelMed knows the template for, cut to five groups."""
    path = twin(document, folder)
    dataset = dcmread(path)
    title = dataset.ConceptNameCodeSequence[0]
    known = codes.IMAGING_MEASUREMENT_REPORT
    title.CodeValue, title.CodingSchemeDesignator, title.CodeMeaning = known.value, known.scheme, known.meaning
    dataset.save_as(folder / name, enforce_file_format=True)
    return folder / name


@pytest.mark.servers
def test_pixelmed_finds_no_error_in_the_templates(tmp_path: Path) -> None:
    paths = [
        retitled(document, tmp_path, f"{name}_{document.kind}.dcm")
        for name in ("rich", "adjudication", "enhanced", "anonymous")
        for document in documents(CASES[name][0], **CASES[name][1])
    ]
    broken = dcmread(paths[0])
    group = groups(broken)[0]
    group.ContentSequence = [item for item in group.ContentSequence if item.ValueType != "IMAGE"]
    broken.save_as(tmp_path / "broken.dcm")
    errors = validators.pixelmed_errors([*paths, tmp_path / "broken.dcm"])
    assert errors.pop(str(tmp_path / "broken.dcm"))
    assert errors == {str(path): [] for path in paths}


@pytest.mark.servers
@pytest.mark.shared
@pytest.mark.parametrize("name", [pytest.param("case_A", marks=pytest.mark.long), "case_B"])
def test_a_review_of_a_real_case_is_valid(name: str, tmp_path: Path) -> None:
    case = case_in(shared("data", name))
    segmentation = max(case.segmentations, key=lambda one: len(one.segments))
    at = case.segmentations.index(segmentation)
    segments = []
    for place, one in enumerate(segmentation.segments):
        findings = ()
        if (segmentation.layers[one.layer] == place + 1).any():
            voxel = middle_of(case, at, one.number)
            points = (
                Location(case.ct.geometry.point_at(*map(float, voxel))),
                box_around(case, voxel, (0, 5, 5)),
                box_around(case, voxel, (5, 5, 0)),
            )
            findings = (found("leak", "minor", points[place % 3], f"{GREEK} {one.label}"),)
        segments.append(SegmentReview(one.number, "3", findings, comment="\u00e4" * 500, seconds=12.25))
    said = Review(segmentation.record.sop_instance_uid, READER, tuple(segments), MADE_AT)
    twins = []
    for document in documents_on(case, at, said, machine_report=REPORT):
        path = tmp_path / file_name(document)
        write(document, path)
        assert validators.dciodvfy_errors(path) == []
        assert validators.dsrdump(path).count('"Measurement Group")=SEPARATE') == len(groups(document.dataset))
        assert len(validators.tid1500_groups(path, tmp_path / "out.json")) == len(groups(document.dataset))
        assert len(document.dataset.SeriesDescription) <= 64
        twins.append(retitled(document, tmp_path, f"{document.kind}.dcm"))
    assert validators.pixelmed_errors(twins) == {str(path): [] for path in twins}
