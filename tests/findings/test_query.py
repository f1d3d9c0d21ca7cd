"""Questions of QIDO-RS about content: the same answers as from walking through all documents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from segqa_dicom.archive.folder_search import UnsupportedQuestion
from segqa_dicom.findings import FindingsIndex, read_document
from segqa_dicom.findings.query import is_content_key, matching_documents, parsed, references_of
from tests.findings import byhand
from tests.findings.conftest import Study
from tests.findings.making import FREE_TEXT

NAME, VALUE = "ContentSequence.ConceptNameCodeSequence.CodeValue", "ContentSequence.ConceptCodeSequence.CodeValue"
NUMBER = "ContentSequence.MeasuredValueSequence.NumericValue"
UNIT = "ContentSequence.MeasuredValueSequence.MeasurementUnitsCodeSequence.CodeValue"
EVIDENCE = "CurrentRequestedProcedureEvidenceSequence.ReferencedSeriesSequence"


def numbered(number: int, key: str) -> str:
    return key.replace("ContentSequence.", f"ContentSequence.{number}.")


def matching(index: FindingsIndex, *matches: tuple[str, str]) -> set[str]:
    found = matching_documents(index, matches)
    assert len(found) == len(set(found))
    return set(found)


def is_number(name: str, low: float, high: float) -> object:
    def holds(item: Dataset) -> bool:
        number = byhand.number(item)
        return byhand.name(item) == name and number is not None and low <= number <= high

    return holds


def says(name: str, value: str) -> object:
    return lambda item: byhand.name(item) == name and byhand.coded(item) == value


@pytest.mark.parametrize(
    ("matches", "conditions"),
    [
        ([(NAME, "121071"), (VALUE, "64033007")], [says("121071", "64033007")]),
        ([(NAME, "CHK-T1"), (VALUE, "FAIL")], [says("CHK-T1", "FAIL")]),
        ([(NAME, "CHK-T1"), (VALUE, "NONE")], [says("CHK-T1", "NONE")]),
        ([(NAME, "SEGQC"), (VALUE, "QC-FAIL")], [says("SEGQC", "QC-FAIL")]),
        ([(NUMBER, "150.25"), (NAME, "118565006")], [is_number("118565006", 150.25, 150.25)]),
        ([(NAME, "118565006"), (NUMBER, "1400-")], [is_number("118565006", 1400, 9e99)]),
        ([(NAME, "112031"), (NUMBER, "-800--700")], [is_number("112031", -800, -700)]),
        ([(NAME, "112031"), (NUMBER, "--778.5")], [is_number("112031", -9e99, -778.5)]),
        ([(NAME, "Q4LE"), (NUMBER, "-30")], [is_number("Q4LE", -9e99, 30)]),
        ([(NAME, "Q4LE"), (NUMBER, "-1e1-30.5")], [is_number("Q4LE", -10, 30.5)]),
    ],
)  # fmt: skip
def test_one_item_matches_as_by_hand(
    indexed: FindingsIndex, study: Study, matches: list[tuple[str, str]], conditions: list
) -> None:
    expected = byhand.with_item(study.files, *conditions)
    assert matching(indexed, *matches) == expected
    assert matching(indexed, *((numbered(3, key), value) for key, value in matches)) == expected


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("121071", "64033007"), ("272741003", "7771000")),
        (("121071", "10200004"), ("CHK-T1", "FAIL")),
        (("121071", "10200004"), ("CHK-T1", "PASS")),
        (("363698007", "78961009"), ("CHK-F1", "PASS")),
        (("121071", "64033007"), ("RID50149", "RID5714")),
        (("121071", "10200004"), ("RID50149", "RID5714")),
    ],
)
def test_numbered_items_lie_in_one_group(
    indexed: FindingsIndex, study: Study, first: tuple[str, str], second: tuple[str, str]
) -> None:
    matches = [
        (numbered(number, key), value)
        for number, pair in ((1, first), (2, second))
        for key, value in zip((NAME, VALUE), pair, strict=True)
    ]
    expected = byhand.with_item(study.files, says(*first), says(*second))
    assert matching(indexed, *matches) == matching(indexed, *reversed(matches)) == expected


def test_what_documents_refer_to_is_found(indexed: FindingsIndex, study: Study) -> None:
    seg, ct = str(study.seg.SOPInstanceUID), str(study.ct.SOPInstanceUID)
    documents = {byhand.uid(file): str(file) for file in study.files}
    about_seg = {byhand.uid(file) for file in study.files if seg.encode() in file}
    assert 0 < len(about_seg) < len(documents)
    assert matching(indexed, ("ReferencedSOPInstanceUID", seg)) == about_seg
    assert matching(indexed, (f"{EVIDENCE}.ReferencedSOPSequence.ReferencedSOPInstanceUID", seg)) == about_seg
    assert matching(indexed, ("0040A375.00081115.00081199.00081155", seg)) == about_seg
    assert matching(indexed, ("ReferencedSOPInstanceUID", f"{seg},1.2.3")) == about_seg
    assert matching(indexed, ("ReferencedSOPInstanceUID", "1.2.3")) == set()
    assert matching(indexed, ("ReferencedSOPInstanceUID", ct)) == {
        byhand.uid(file) for file in study.files if ct.encode() in file
    }
    assert matching(indexed, (f"{EVIDENCE}.SeriesInstanceUID", str(study.seg.SeriesInstanceUID))) == about_seg


def test_titles_are_found(indexed: FindingsIndex, study: Study) -> None:
    titled = {byhand.uid(file) for file in study.files if byhand.name(next(byhand.items(file))[0]) == "126000"}
    assert matching(indexed, ("ConceptNameCodeSequence.CodeValue", "126000")) == titled
    assert matching(indexed, ("0040A043.00080100", "126000"), ("0040A043.00080102", "DCM")) == titled
    assert matching(indexed, ("ConceptNameCodeSequence.CodeValue", "126000\\QAREPORT")) == {
        byhand.uid(file) for file in study.files
    }
    assert matching(indexed, ("0040A043.00080100", "126000"), ("0040A043.00080102", "99SEGQA")) == set()


def test_texts_units_segments_and_types_are_found(indexed: FindingsIndex, study: Study) -> None:
    dcmqi, ohif = byhand.uid(study.others["dcmqi"]), byhand.uid(study.others["OHIF"])
    assert matching(indexed, ("ContentSequence.TextValue", "Measurements group ?")) == {dcmqi}
    assert matching(
        indexed, ("ContentSequence.TextValue", "*ArrowAnnotate"), ("ContentSequence.ValueType", "TEXT")
    ) == {ohif}
    assert matching(indexed, (NUMBER, "150.25"), (UNIT, "mm3")) == set()
    assert matching(indexed, (NUMBER, "150.25"), (UNIT, "cm3")) == {dcmqi}
    assert matching(indexed, ("ContentSequence.ConceptCodeSequence.CodeMeaning", FREE_TEXT)) == {ohif}
    assert matching(indexed, ("ContentSequence.ValueType", "SCOORD")) >= {ohif}
    assert matching(indexed, ("ContentSequence.PersonName", "Reader^*")) == {dcmqi, ohif}
    segment = "ContentSequence.1.ReferencedSOPSequence"
    of_segment = matching(
        indexed,
        (f"{segment}.ReferencedSOPInstanceUID", str(study.seg.SOPInstanceUID)),
        (f"{segment}.ReferencedSegmentNumber", "2"),
        (numbered(2, NAME), "RID50149"),
    )
    assert of_segment == {dcmqi}


def test_an_empty_value_holds_always(indexed: FindingsIndex, study: Study) -> None:
    everything = {byhand.uid(file) for file in study.files}
    assert matching(indexed) == everything
    assert matching(indexed, (NAME, ""), ("ReferencedSOPInstanceUID", ""), (numbered(2, NUMBER), "")) == everything


def test_references_are_answered(indexed: FindingsIndex, study: Study) -> None:
    uid = byhand.uid(study.others["OHIF"])
    assert references_of(indexed, [uid, "1.2.3"]) == {uid: [(str(study.ct.SOPClassUID), str(study.ct.SOPInstanceUID))]}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ContentSequence", "1"),
        ("ContentSequence.1", "1"),
        ("ContentSequence.0.TextValue", "x"),
        ("ContentSequence.10.TextValue", "x"),
        ("ContentSequence.KVP", "120"),
        ("ContentSequence.ContentSequence.TextValue", "x"),
        ("ContentSequence.ConceptNameCodeSequence", "1"),
        ("ContentSequence.ConceptNameCodeSequence.CodingSchemeVersion", "1"),
        ("ContentSequence.Nonsense", "1"),
        ("ConceptNameCodeSequence", "126000"),
        ("ConceptNameCodeSequence.Nonsense", "126000"),
        ("PertinentOtherEvidenceSequence.StudyInstanceUID", "1.2"),
        ("ReferencedSOPInstanceUID", "1.2.x"),
        ("ReferencedSOPInstanceUID", ","),
        (NUMBER, "-"),
        (NUMBER, "many"),
        (NUMBER, "1-2-3"),
        (NUMBER, "1e999"),
        (NUMBER, "nan"),
        ("ContentSequence.ValueType", "NONSENSE"),
        ("ContentSequence.ReferencedSOPSequence.ReferencedSegmentNumber", "-1"),
        ("ContentSequence.TextValue", "x" * 2000),
        (NAME, "\\"),
    ],
)
def test_what_cannot_be_answered_is_refused(indexed: FindingsIndex, key: str, value: str) -> None:
    assert is_content_key(key)
    with pytest.raises(UnsupportedQuestion):
        matching_documents(indexed, [(key, value)])


@pytest.mark.parametrize("key", ["Modality", "00080060", "ScheduledProcedureStepSequence.Modality", "nonsense", ""])
def test_other_keys_are_left_to_the_archive(key: str) -> None:
    assert not is_content_key(key)


KEYS = st.lists(
    st.sampled_from(
        ["ContentSequence", "0040A730", "1", "9", "10", "ConceptNameCodeSequence", "0040A168", "CodeValue", "TextValue",
         "MeasuredValueSequence", "NumericValue", "ReferencedSOPInstanceUID", "UID", "", "é", "ValueType"]
    ),
    min_size=1,
    max_size=5,
).map(".".join)  # fmt: skip


@given(matches=st.lists(st.tuples(KEYS, st.text(max_size=20)), max_size=6))
def test_any_question_is_answered_or_refused(indexed: FindingsIndex, matches: list[tuple[str, str]]) -> None:
    try:
        conditions = parsed(matches)
    except UnsupportedQuestion:
        return
    assert len(matching_documents(indexed, matches)) <= indexed.size().documents
    assert len(conditions) <= len(matches)


@given(value=st.floats(min_value=-2000, max_value=2000, allow_nan=False), width=st.floats(0, 500))
def test_ranges_of_any_numbers_match_as_by_hand(
    indexed: FindingsIndex, study: Study, value: float, width: float
) -> None:
    low, high = value, value + width
    expected = {
        one.sop_instance_uid
        for one in map(read_document, study.others.values())
        if any(item.number is not None and low <= item.number <= high for item in one.items)
    }
    found = matching(indexed, (NUMBER, f"{low!r}-{high!r}"))
    assert found & {byhand.uid(file) for file in study.others.values()} == expected
