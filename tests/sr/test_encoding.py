"""What we encode ourselves is, byte by byte, what highdicom and pydicom write for the same values."""

from __future__ import annotations

import math
import pickle
from dataclasses import FrozenInstanceError, replace
from io import BytesIO

import highdicom as hd
import numpy as np
import pytest
from highdicom.sr import CodedConcept
from hypothesis import given
from hypothesis import strategies as st
from pydicom import DataElement, Dataset, config, dcmread, dcmwrite
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence
from pydicom.valuerep import DS

from segqa_dicom.checks.finding import Outcome
from segqa_dicom.dicom import encoding
from segqa_dicom.model import Code, SliceRef
from segqa_dicom.report.model import CaseReport
from segqa_dicom.sr import Kind, Predecessor, build_documents, codes, content_items, tree
from segqa_dicom.sr.ascii import ascii_text
from segqa_dicom.sr.code_sequence import coded
from tests.tiers import examples

from .factories import (
    CT_IMAGE,
    ENHANCED_CT,
    RIGHT_KIDNEY,
    SEG_STORAGE,
    TITLES,
    CodedStructure,
    case,
    ct_record,
    failed,
    finding,
    geometry,
    rich_case,
    seg_record,
    segment,
    segmentation,
)
from .reading import children, groups, walk
from .reference import bytes_of, elements, file_of, rebuilt

# ------------------------------------------------------------------------------------------------ whole documents

KEY = (Kind.REPORT, (seg_record(1).sop_instance_uid,))
OLD = Predecessor("1.2.3", "1.2")
LONG = CodedStructure(type=Code("LONGER-THAN-SIXTEEN-CHARACTERS", "99X", "Something"))
URN = CodedStructure(type=Code("urn:oid:1.2.3.4.5.6.7", "99X", "Something"))
CASES = [
    pytest.param(rich_case(), {}, id="rich"),
    pytest.param(rich_case(ct=ct_record(enhanced=True)), {}, id="enhanced"),
    pytest.param(case(ct=ct_record(patient=())), {}, id="anonymous"),
    pytest.param(case(segmentation(content_date=""), ct=ct_record(400), geometry=geometry(400)), {}, id="long"),
    pytest.param(case(segmentation(1, (segment(1, "x", LONG), segment(2, "y", URN, voxels=0)))), {}, id="long codes"),
    pytest.param(case(segmentation(1), segmentation(2), segmentation(3, study_instance_uid="1.9")), {}, id="studies"),
    pytest.param(case(segmentation(1, (), (finding(),))), {}, id="without segments"),
    pytest.param(case(), {"predecessors": {KEY: OLD}}, id="revision"),
    pytest.param(case(ct=replace(ct_record(), instances=())), {}, id="no instances"),
]


@pytest.mark.parametrize(("report", "options"), CASES)
def test_every_file_is_what_highdicom_writes(report: CaseReport, options: dict) -> None:
    documents = build_documents(report, rule_titles=TITLES, **options)
    assert documents
    for document in documents:
        predecessor = OLD if options and (document.kind, document.references) == KEY else None
        assert document.file == file_of(document, report, predecessor)


def test_every_item_is_what_highdicom_builds() -> None:
    for document in build_documents(rich_case(), rule_titles=TITLES):
        found = list(walk(document.dataset))
        for item in found[1:]:
            assert list(elements(item)) == list(elements(rebuilt(item)))
        kinds = {item.ValueType for item in found}
        assert kinds >= {"CONTAINER", "CODE", "TEXT", "UIDREF", "NUM", "IMAGE"}


def test_a_document_that_is_read_and_written_by_pydicom_is_the_same() -> None:
    for document in build_documents(rich_case(), rule_titles=TITLES):
        read = dcmread(BytesIO(document.file))
        assert len(list(elements(read))) > 100  # pydicom has taken everything apart
        buffer = BytesIO()
        dcmwrite(buffer, read, enforce_file_format=True)
        assert buffer.getvalue() == document.file


def test_the_data_set_of_a_document_is_a_copy() -> None:
    (document,) = build_documents(case(), rule_titles=TITLES)
    before = document.file
    document.dataset.PatientName = "Somebody^Else"
    document.dataset.ContentSequence[0].ValueType = "TEXT"
    assert document.file == before


def test_what_was_built_before_changes_nothing() -> None:
    """Codes are equal whatever they are called, and codes are encoded once: a name must not stick to a code."""

    def report(meaning: str, title: str) -> bytes:
        named = CodedStructure(type=Code("10200004", "SCT", meaning))
        segs = segmentation(1, (segment(1, "x", named, checks=(failed("T1"),)),))
        return build_documents(case(segs), rule_titles={"T1": title})[0].file

    first = report("Liver", "Parts")
    assert b"Leber" in report("Leber", "Teile")
    assert report("Liver", "Parts") == first
    assert b"Leber" not in first
    assert b"Teile" not in first


# ---------------------------------------------------------------------------------------------- items and highdicom

NAME = Code("121106", "DCM", "Comment")
THEIR_NAME = CodedConcept("121106", "DCM", "Comment")
MM = Code("mm", "UCUM", "millimeter")
THEIR_MM = CodedConcept("mm", "UCUM", "millimeter")


def num(value: str) -> hd.sr.NumContentItem:
    item = hd.sr.NumContentItem(THEIR_NAME, 0, THEIR_MM, relationship_type="CONTAINS")
    item.MeasuredValueSequence[0].NumericValue = DS(value)
    return item


def scoord(frame: int | None) -> hd.sr.ScoordContentItem:
    name = CodedConcept("121226", "DCM", "Approximate spatial location")
    item = hd.sr.ScoordContentItem(name, "POINT", np.array([[20.5, 10.25]]), relationship_type="INFERRED FROM")
    source = CodedConcept("121112", "DCM", "Source of Measurement")
    uid = ENHANCED_CT if frame else CT_IMAGE
    image = hd.sr.ImageContentItem(
        source, uid, "1.2.3", referenced_frame_numbers=frame, relationship_type="SELECTED FROM"
    )
    item.ContentSequence = Sequence([image])
    return item


def container() -> hd.sr.ContainerContentItem:
    item = hd.sr.ContainerContentItem(
        THEIR_NAME, is_content_continuous=False, template_id="1411", relationship_type="CONTAINS"
    )
    item.ContentSequence = Sequence([hd.sr.TextContentItem(THEIR_NAME, "odd", relationship_type="CONTAINS")])
    return item


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param(
            tree.code(NAME, MM, tree.CONCEPT_MOD),
            hd.sr.CodeContentItem(THEIR_NAME, THEIR_MM, relationship_type="HAS CONCEPT MOD"),
            id="CODE",
        ),
        pytest.param(
            tree.text(NAME, "even", tree.OBS_CONTEXT),
            hd.sr.TextContentItem(THEIR_NAME, "even", relationship_type="HAS OBS CONTEXT"),
            id="TEXT",
        ),
        pytest.param(
            tree.text(NAME, " "), hd.sr.TextContentItem(THEIR_NAME, "-", relationship_type="CONTAINS"), id="no text"
        ),
        pytest.param(
            tree.uid_reference(NAME, "1.2.34"),
            hd.sr.UIDRefContentItem(THEIR_NAME, "1.2.34", relationship_type="CONTAINS"),
            id="UIDREF",
        ),
        pytest.param(tree.number(NAME, 12, MM), num("12"), id="whole NUM"),
        pytest.param(tree.number(NAME, -0.125, MM), num("-0.125"), id="NUM"),
        pytest.param(
            tree.segment_image(NAME, SEG_STORAGE, "1.2.3", (65535,)),
            hd.sr.ImageContentItem(
                THEIR_NAME, SEG_STORAGE, "1.2.3", referenced_segment_numbers=65535, relationship_type="CONTAINS"
            ),
            id="segment",
        ),
        pytest.param(
            tree.segment_image(NAME, SEG_STORAGE, "1.2.3", (3, 1, 65535)),
            hd.sr.ImageContentItem(
                THEIR_NAME, SEG_STORAGE, "1.2.3", referenced_segment_numbers=[3, 1, 65535], relationship_type="CONTAINS"
            ),
            id="several segments",
        ),
        pytest.param(
            tree.segment_image(NAME, SEG_STORAGE, "1.2.3"),
            hd.sr.ImageContentItem(THEIR_NAME, SEG_STORAGE, "1.2.3", relationship_type="CONTAINS"),
            id="IMAGE",
        ),
        pytest.param(tree.point(20.5, 10.25, SliceRef(CT_IMAGE, "1.2.3")), scoord(None), id="SCOORD"),
        pytest.param(tree.point(20.5, 10.25, SliceRef(ENHANCED_CT, "1.2.3", 12)), scoord(12), id="SCOORD on a frame"),
        pytest.param(tree.container(NAME, [tree.text(NAME, "odd")], template="1411"), container(), id="CONTAINER"),
    ],
)
def test_an_item_is_what_highdicom_builds(ours: tree.Item, theirs: hd.sr.ContentItem) -> None:
    assert b"".join(ours.elements()) == bytes_of(theirs)
    assert list(elements(parsed(ours))) == list(elements(theirs))


def parsed(item: tree.Item) -> Dataset:
    return read_dataset(BytesIO(b"".join(item.elements())), is_implicit_VR=False, is_little_endian=True)


def test_a_group_has_the_items_of_highdicoms_template() -> None:
    """TID 1411 by highdicom's template class: the same items, with their modifiers; only their order is another."""
    only = segment(7, "Kidney", RIGHT_KIDNEY, checks=(failed("T1", ""),))
    record = seg_record(1)
    (document,) = build_documents(case(segmentation(1, (only,))), rule_titles=TITLES)
    (ours,) = groups(document.dataset)
    (uid,) = children(ours, "112040.DCM")
    numbers = [item for item in ours.ContentSequence if item.ValueType == "NUM"]
    # What lies below codes (label, severity) is an extension of the template.
    for item in ours.ContentSequence:
        if item.ValueType == "CODE" and item.RelationshipType == "CONTAINS" and "ContentSequence" in item:
            del item.ContentSequence

    def their(code: Code) -> CodedConcept:
        return CodedConcept(code.value, code.scheme, code.meaning)

    (theirs,) = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=uid.UID, identifier="Segment 7: Kidney, right"),
        referenced_segment=hd.sr.ReferencedSegment(
            record.sop_class_uid,
            record.sop_instance_uid,
            7,
            source_series=hd.sr.SourceSeriesForSegmentation(ct_record().series_instance_uid),
        ),
        finding_type=CodedConcept("64033007", "SCT", "Kidney"),
        finding_sites=[
            hd.sr.FindingSite(CodedConcept("64033007", "SCT", "Kidney"), CodedConcept("24028007", "SCT", "Right"))
        ],
        measurements=[
            hd.sr.Measurement(
                their(code),
                0,
                their(unit),
                method=their(codes.SUM_OF_VOXELS) if code == codes.VOLUME else None,
            )
            for code, unit in zip(map(coded_name, numbers), map(coded_unit, numbers), strict=True)
        ],
        qualitative_evaluations=[
            hd.sr.QualitativeEvaluation(
                their(codes.SEGMENTATION_QUALITY), CodedConcept("QC-FAIL", "99SEGQA", "Failed")
            ),
            hd.sr.QualitativeEvaluation(
                their(codes.check_code("T1", TITLES["T1"])), their(codes.OUTCOMES[Outcome.FAIL])
            ),
        ],
    )
    their_numbers = [item for item in theirs.ContentSequence if item.ValueType == "NUM"]
    for mine, other in zip(numbers, their_numbers, strict=True):
        other.MeasuredValueSequence[0].NumericValue = DS(str(mine.MeasuredValueSequence[0].NumericValue))
    # PS3.16, annex D: "Source series for segmentation"; highdicom writes capitals.
    (series,) = children(theirs, "121232.DCM")
    series.ConceptNameCodeSequence[0].CodeMeaning = codes.SOURCE_SERIES.meaning
    assert sorted(bytes_of(item) for item in theirs.ContentSequence) == sorted(
        bytes_of(item) for item in ours.ContentSequence
    )
    del theirs.ContentSequence, ours.ContentSequence
    theirs.ContinuityOfContent = "SEPARATE"  # OHIF runs highdicom's CONTINUOUS text together
    assert bytes_of(theirs) == bytes_of(ours)


def coded_name(item: Dataset) -> Code:
    return _code(item.ConceptNameCodeSequence[0])


def coded_unit(item: Dataset) -> Code:
    return _code(item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0])


def _code(item: Dataset) -> Code:
    return Code(item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning)


def test_items_are_values() -> None:
    one, other = (tree.number(NAME, 0.5, MM, [tree.text(NAME, "x")]) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert pickle.loads(pickle.dumps(one)).encoded() == other.encoded()
    with pytest.raises(FrozenInstanceError):
        one.decimal = "1"  # type: ignore[attr-defined]


# -------------------------------------------------------------------------------------------- elements and pydicom

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=70)
PLAIN = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=70)
UID = st.from_regex(r"[0-9]{1,9}(\.[0-9]{1,9}){0,5}", fullmatch=True)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def by_pydicom(tag: int, vr: str, value: object) -> bytes:
    dataset = Dataset()
    dataset[tag] = DataElement(tag, vr, value, validation_mode=config.IGNORE)
    return bytes_of(dataset)


@pytest.mark.parametrize("vr", ["LO", "SH", "ST", "LT", "UC", "UT"])
@given(TEXT)
def test_texts_are_written_as_pydicom_writes_them(vr: str, words: str) -> None:
    """Other alphabets, backslashes, blanks at the ends, nothing at all."""
    assert encoding.text(0x0040A160, vr, words) == by_pydicom(0x0040A160, vr, words)


@pytest.mark.parametrize("vr", ["CS", "DA", "TM", "UR"])
@given(PLAIN)
def test_plain_texts_are_written_as_pydicom_writes_them(vr: str, words: str) -> None:
    assert encoding.text(0x0040A040, vr, words) == by_pydicom(0x0040A040, vr, words)


@given(UID)
def test_uids_are_written_as_pydicom_writes_them(uid: str) -> None:
    assert encoding.text(0x0040A124, "UI", uid) == by_pydicom(0x0040A124, "UI", uid)


@given(FINITE)
def test_numbers_are_written_as_pydicom_writes_them(value: float) -> None:
    decimal = tree.decimal_string(value)
    written = encoding.text(0x0040A30A, "DS", decimal)
    assert written == by_pydicom(0x0040A30A, "DS", DS(decimal, validation_mode=config.RAISE))
    assert math.isclose(float(decimal), value, rel_tol=1e-6, abs_tol=1e-9)


@given(TEXT)
def test_codes_are_written_as_pydicom_writes_them(words: str) -> None:
    code = tree.concept(Code(words, words[:20], words[::-1]))
    assert len(code.meaning) <= 64
    assert len(code.scheme) <= 16
    item = Dataset()
    keyword = "CodeValue" if len(code.value) <= 16 else "LongCodeValue"
    if keyword == "LongCodeValue" and (code.value.startswith("urn") or "://" in code.value):
        keyword = "URNCodeValue"
    setattr(item, keyword, code.value)
    item.CodingSchemeDesignator, item.CodeMeaning = code.scheme, code.meaning
    expected = Dataset()
    expected.ConceptCodeSequence = [item]
    assert coded(0x0040A168, code) == bytes_of(expected)


CODE = st.builds(Code, st.one_of(PLAIN, TEXT), st.just("99X"), TEXT)
LEAVES = st.one_of(
    st.builds(tree.text, CODE, TEXT),
    st.builds(tree.TextItem, CODE, st.just(tree.CONTAINS), st.just(()), TEXT),
    st.builds(tree.code, CODE, CODE),
    st.builds(tree.number, CODE, FINITE, CODE),
    st.builds(tree.uid_reference, CODE, UID),
)
TREES = st.recursive(
    LEAVES, lambda inner: st.builds(tree.container, CODE, st.lists(inner, min_size=1, max_size=4)), max_leaves=12
)


@examples(50)
@given(TREES)
def test_any_tree_is_written_as_pydicom_writes_it(tree: tree.Item) -> None:
    assert b"".join(tree.elements()) == bytes_of(by_hand(tree))


def by_hand(item: tree.Item) -> Dataset:
    """The item as a data set, put together without our encoder."""
    dataset = Dataset()
    if item.relation:
        dataset.RelationshipType = item.relation
    dataset.ValueType = item.value_type
    dataset.ConceptNameCodeSequence = [_by_hand(item.name)]
    match item:
        case content_items.ContainerItem():
            dataset.ContinuityOfContent = "SEPARATE"
        case content_items.TextItem():
            dataset.TextValue = item.words
        case content_items.CodeItem():
            dataset.ConceptCodeSequence = [_by_hand(item.value)]
        case content_items.UidItem():
            dataset.UID = item.uid
        case content_items.NumberItem():
            measured = Dataset()
            measured.NumericValue = item.decimal
            if item.floating is not None:
                measured.FloatingPointValue = item.floating
            measured.MeasurementUnitsCodeSequence = [_by_hand(item.unit)]
            dataset.MeasuredValueSequence = [measured]
    if item.children:
        dataset.ContentSequence = [by_hand(child) for child in item.children]
    return dataset


def _by_hand(code: Code) -> Dataset:
    dataset = Dataset()
    is_urn = code.value.startswith("urn") or "://" in code.value
    keyword = "CodeValue" if len(code.value) <= 16 else "URNCodeValue" if is_urn else "LongCodeValue"
    tag = {"CodeValue": "SH", "URNCodeValue": "UR", "LongCodeValue": "UC"}[keyword]
    dataset[keyword] = DataElement(keyword, tag, code.value, validation_mode=config.IGNORE)
    dataset.CodingSchemeDesignator, dataset.CodeMeaning = code.scheme, code.meaning
    return dataset


@given(st.floats(-1e300, 1e300))
def test_an_exact_number_is_read_back_as_it_was(value: float) -> None:
    item = tree.exact_number(NAME, value, MM)
    dataset = by_hand(item)
    (measured,) = dcmread(BytesIO(bytes_of(dataset)), force=True).MeasuredValueSequence
    assert len(item.decimal) <= 16
    assert measured.get("FloatingPointValue", float(measured.NumericValue)) == value
    assert float(measured.NumericValue) == pytest.approx(value, rel=1e-8, abs=1e-300)


def test_what_does_not_fit_its_length_is_refused() -> None:
    assert len(encoding.text(0x00080104, "LO", "x" * 0xFFFE)) == 8 + 0xFFFE
    with pytest.raises(ValueError, match="cannot be written"):
        encoding.text(0x00080104, "LO", "x" * 0xFFFF)
    with pytest.raises(ValueError, match="cannot be written"):
        encoding.element(0x00080104, "LO", b"odd")
    long = encoding.text(0x0040A160, "UT", "x" * 0x10001)
    assert long == by_pydicom(0x0040A160, "UT", "x" * 0x10001)


@given(PLAIN)
def test_plain_text_is_treated_like_any_other(words: str) -> None:
    """The short cut for plain text gives what the long way gives."""
    assert (
        ascii_text(words.replace("\\", ""))
        == ascii_text(f"{words}\u00fc".replace("\\", "")).removesuffix("ue").rstrip()
    )


def test_a_large_document_is_read_back_as_it_was_meant() -> None:
    segs = segmentation(1, tuple(segment(n, f"part {n}", checks=(failed(),)) for n in range(1, 301)))
    report = case(segs, ct=ct_record(1200), geometry=geometry(1200))
    (document,) = build_documents(report, rule_titles=TITLES)
    assert len(groups(document.dataset)) == 300
    assert len(document.file) > 1_000_000
