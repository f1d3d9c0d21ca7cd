"""Programs of others read every kind of document without an error."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import highdicom as hd
import pytest
from pydicom import dcmread

from segqa_dicom.checks import default_ruleset, rule_titles
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.pipeline import review
from segqa_dicom.reading.case import read_case
from segqa_dicom.reading.grouping import group
from segqa_dicom.reading.scan import scan
from segqa_dicom.sr import Document, Kind, Predecessor, build_documents, codes, file_name, write
from segqa_dicom.sr.kinds import MACHINE_KINDS
from tests import validators
from tests.shared import shared

from .factories import (
    TITLES,
    CodedStructure,
    case,
    ct_record,
    failed,
    rich_case,
    seg_record,
    segment,
    segmentation,
)
from .reading import children, groups, numbers
from .reference import file_of

pytestmark = pytest.mark.servers


def documents(**values: object) -> Iterator[tuple[str, Document]]:
    """Every kind, and everything that makes a document look different."""
    here = (0.0, 0.0, 5.0)
    failing = (segment(1, checks=(failed(at=here),)), segment(2))
    odd = CodedStructure(type=codes.Code("LONGER-THAN-SIXTEEN-CHARACTERS", "99X", "Something"))
    revised = {(Kind.REPORT, (seg_record(1).sop_instance_uid,)): Predecessor("1.2.3", "1.2")}
    cases = {
        "rich": (rich_case(), {}),
        "enhanced": (case(segmentation(1, failing), ct=ct_record(enhanced=True), hu_defined=False), {}),
        "anonymous": (case(ct=ct_record(patient=())), {"predecessors": revised}),
        "odd": (case(segmentation(1, (segment(1, "x", odd), segment(2, voxels=0)))), {}),
        "three": (case(segmentation(1, failing), segmentation(2), segmentation(3, study_instance_uid="1.9")), {}),
    }
    for name, (report, settings) in cases.items():
        for document in build_documents(report, rule_titles=TITLES, **{**settings, **values}):
            yield name, document


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Document]:
    folder = tmp_path_factory.mktemp("sr")
    found = {folder / f"{name}_{file_name(document)}": document for name, document in documents()}
    for path, document in found.items():
        write(document, path)
    assert {document.kind for document in found.values()} == set(MACHINE_KINDS)
    return found


def test_dciodvfy_finds_no_error(files: dict[Path, Document]) -> None:
    assert {path.name: validators.dciodvfy_errors(path) for path in files} == {path.name: [] for path in files}


def test_dciodvfy_finds_an_error_in_a_broken_file(files: dict[Path, Document], tmp_path: Path) -> None:
    dataset = dcmread(next(iter(files)))
    del dataset.CompletionFlag
    dataset.save_as(tmp_path / "broken.dcm")
    assert validators.dciodvfy_errors(tmp_path / "broken.dcm")


def test_dcmtk_reads_every_tree(files: dict[Path, Document]) -> None:
    for path, document in files.items():
        dump = validators.dsrdump(path)
        title = "Imaging Measurement Report" if document.kind is Kind.KEYIMG else "Segmentation Quality Report"
        assert title in dump
        assert dump.count('"Measurement Group")=SEPARATE') == len(groups(document.dataset))
    assert "M\u00fcller" in "".join(validators.dsrdump(path) for path in files)


def test_dcmqi_reads_all_groups_and_numbers(files: dict[Path, Document], tmp_path: Path) -> None:
    for path, document in files.items():
        assert dcmqi_reads_everything(path, document, tmp_path)


def dcmqi_reads_everything(path: Path, document: Document, folder: Path) -> bool:
    found = validators.tid1500_groups(path, folder / "out.json")
    expected = [len(numbers(group)) for group in groups(document.dataset)]
    # 3D Slicer's table needs the same columns in every row; a row may be empty.
    same_columns = len({count for count in expected if count}) == 1
    return same_columns and [len(group["measurementItems"]) for group in found] == expected


def test_highdicom_reads_all_groups_back(files: dict[Path, Document]) -> None:
    for path, document in files.items():
        assert highdicom_reads_everything(path, document)


def highdicom_reads_everything(path: Path, document: Document) -> bool:
    with warnings.catch_warnings():
        # highdicom warns about the order of items, for its own template classes only.
        warnings.simplefilter("ignore")
        content = hd.sr.srread(path).content
    is_report = document.kind is Kind.REPORT
    found = content.get_volumetric_roi_measurement_groups() if is_report else content.get_image_measurement_groups()
    expected = [len(numbers(group)) for group in groups(document.dataset)]
    return [len(group.get_measurements()) for group in found] == expected


@pytest.mark.shared
def test_all_documents_of_a_real_case_are_valid(tmp_path: Path) -> None:
    headers, _ = scan([shared("data", "case_B")], Limits())
    (together,), _ = group(headers, Limits())
    found, _ = read_case(together, Limits())
    assert found is not None
    report = review(found, default_ruleset())
    twins = {}
    for document in build_documents(report, rule_titles=rule_titles(), title=codes.IMAGING_MEASUREMENT_REPORT):
        path = tmp_path / file_name(document)
        write(document, path)
        assert validators.dciodvfy_errors(path) == []
        assert validators.dsrdump(path)
        assert dcmqi_reads_everything(path, document, tmp_path)
        assert highdicom_reads_everything(path, document)
        if document.kind not in twins:
            assert document.file == file_of(document, report)
            twins[document.kind] = twin(document, tmp_path)
    assert set(twins) == set(MACHINE_KINDS)
    assert validators.pixelmed_errors([*twins.values()]) == {str(path): [] for path in twins.values()}


def twin(document: Document, folder: Path) -> Path:
    """The document cut to two groups: the memory and time of PixelMed grow steeply with them."""
    dataset = dcmread(BytesIO(document.file))
    (container,) = children(dataset, "126010.DCM")
    cut = [id(item) for item in groups(dataset)[2:]]
    container.ContentSequence = [item for item in container.ContentSequence if id(item) not in cut]
    path = folder / f"twin_{file_name(document)}"
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_pixelmed_finds_no_error_in_the_templates(tmp_path: Path) -> None:
    """Twins titled 126000, the only title that PixelMed knows the template for."""
    paths = []
    for name, document in documents(title=codes.IMAGING_MEASUREMENT_REPORT, max_groups=3):
        if name in {"enhanced", "odd"}:
            paths.append(tmp_path / f"{name}_{file_name(document)}")
            write(document, paths[-1])
    broken = dcmread(next(path for path in paths if "enhanced_report" in path.name))
    group = groups(broken)[0]
    group.ContentSequence = [item for item in group.ContentSequence if item.ValueType != "IMAGE"]
    broken.save_as(tmp_path / "broken.dcm")
    errors = validators.pixelmed_errors([*paths, tmp_path / "broken.dcm"])
    assert errors.pop(str(tmp_path / "broken.dcm"))
    assert errors == {str(path): [] for path in paths}
