"""Documents that replace documents, known from what is in the archive."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segqa_dicom.errors import UnreadableObject
from segqa_dicom.model import ContentConflict
from segqa_dicom.report.model import CaseReport
from segqa_dicom.sr import (
    Document,
    EarlierDocument,
    Kind,
    build_documents,
    case_key,
    documents_of,
    predecessors,
    read_earlier,
)
from segqa_dicom.sr.kinds import MACHINE_KINDS

from .factories import TITLES, rich_case

SEGS = tuple(segmentation.record.sop_instance_uid for segmentation in rich_case().segmentations)


def key_of(report: CaseReport) -> str:
    records = [segmentation.record for segmentation in report.segmentations]
    return case_key(report.ct, records, report.ruleset.hash, report.conflicts)


def revised(report: CaseReport, *earlier: Document) -> list[Document]:
    found = predecessors([known(one) for one in earlier], key_of(report))
    return build_documents(report, rule_titles=TITLES, predecessors=found)


def known(document: Document) -> EarlierDocument:
    found = read_earlier(document.file)
    assert found is not None
    return found


def other_rules(name: str) -> CaseReport:
    return rich_case(ruleset=replace(rich_case().ruleset, hash=name))


def test_a_document_says_what_it_is_about() -> None:
    documents = build_documents(rich_case(), rule_titles=TITLES, compare="pairs")
    assert {document.kind for document in documents} == set(MACHINE_KINDS)
    for document in documents:
        found = known(document)
        assert (found.kind, found.references) == (document.kind, document.references)
        assert found.itself.sop_instance_uid == document.sop_instance_uid
        assert found.predecessor is None


def test_reviewing_again_gives_the_documents_that_are_there() -> None:
    first = revised(rich_case())
    assert [one.file for one in revised(rich_case(), *first)] == [one.file for one in first]
    second = revised(other_rules("b"), *first)
    assert [one.file for one in revised(other_rules("b"), *first, *second)] == [one.file for one in second]


def test_a_changed_case_replaces_the_current_documents_whatever_their_order() -> None:
    first = revised(rich_case())
    second = revised(other_rules("b"), *first)
    third = revised(other_rules("c"), *second, *first)
    for older, newer in ((first, second), (second, third)):
        replaced = {(one.kind, one.references): one.sop_instance_uid for one in older}
        for one in newer:
            predecessor = known(one).predecessor
            assert predecessor is not None
            assert predecessor.sop_instance_uid == replaced[one.kind, one.references]
    orders = [(*first, *second), (*second, *first), tuple(reversed((*first, *second)))]
    assert len({tuple(one.file for one in revised(other_rules("d"), *order)) for order in orders}) == 1


def test_going_back_to_an_earlier_state_replaces_the_newest_document() -> None:
    first = revised(rich_case())
    second = revised(other_rules("b"), *first)
    again = revised(rich_case(), *first, *second)
    assert not {one.sop_instance_uid for one in again} & {one.sop_instance_uid for one in first}
    assert {known(one).predecessor.sop_instance_uid for one in again} == {one.sop_instance_uid for one in second}


def test_a_case_was_reviewed_if_every_segmentation_has_a_current_report_of_it() -> None:
    first = revised(rich_case())
    earlier = [known(one) for one in first]
    key = key_of(rich_case())
    assert {one.itself.sop_instance_uid for one in documents_of(SEGS, earlier, key)} == {
        one.sop_instance_uid for one in first
    }
    assert not documents_of(SEGS, [], key)
    assert not documents_of(SEGS, earlier, key_of(other_rules("b")))
    assert not documents_of((*SEGS, "1.2.3.4"), earlier, key)
    later = [known(one) for one in revised(other_rules("b"), *first)]
    assert not documents_of(SEGS, [*earlier, *later], key)
    assert len(documents_of(SEGS, [*earlier, *later], key_of(other_rules("b")))) == len(first)
    without = [one for one in earlier if (one.kind, one.references) != (Kind.REPORT, SEGS[:1])]
    assert not documents_of(SEGS, without, key)


def test_a_conflict_makes_another_case() -> None:
    report = rich_case(conflicts=(ContentConflict("1.2.3", "a", "b"),))
    assert key_of(report) != key_of(rich_case())


def test_documents_of_others_are_none_and_what_is_no_dicom_is_told() -> None:
    document = build_documents(rich_case(), rule_titles=TITLES)[0]
    assert read_earlier(document.file.replace(b"SEGQA project", b"SEGQB project")) is None
    with pytest.raises(UnreadableObject, match="SR of the archive"):
        read_earlier(b"no DICOM")
