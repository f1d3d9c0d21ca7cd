"""What has arrived becomes cases: which segmentation belongs to which CT series, and when a revision is opened."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence as Items

from segqa_dicom.checks.ruleset import default_ruleset, ruleset_with
from segqa_dicom.ledger import Case, SegmentationState
from segqa_dicom.service.readiness import QUIET_S
from segqa_dicom.service.reconcile import sweep
from tests.archive.objects import outgoing
from tests.reading import handmade
from tests.service.bench import DEADLINE_S, DEBOUNCE_S, NOW, SEG, Bench, ct, seg

SERIES, OTHER = handmade.SERIES, "1.2.3.6"
WAITING, INCOMPLETE = SegmentationState.WAITING, SegmentationState.INCOMPLETE
SETTLED_S = 2 * QUIET_S
"""Nothing has come for longer than any quiet time."""


def series_only(images: list[Dataset], **attributes: object) -> Dataset:
    """A segmentation that names the series of the images, and none of them."""
    made = seg(images, names=images, **attributes)
    del made.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    return made


def instances_only(images: list[Dataset], **attributes: object) -> Dataset:
    """A segmentation that names images, and no series."""
    references = [
        handmade.one(ReferencedSOPClassUID=one.SOPClassUID, ReferencedSOPInstanceUID=one.SOPInstanceUID)[0]
        for one in images
    ]
    return seg(images, SourceImageSequence=Items(references), **attributes)


def only(cases: list[Case]) -> Case:
    (case,) = cases
    return case


def opened_for(bench: Bench, until_s: float, step_s: float = 2.5) -> list[Case]:
    """Cases that are opened by and by."""
    return [case for n in range(1, round(until_s / step_s) + 1) for case in bench.opened(n * step_s)]


def test_a_segmentation_and_its_images_make_one_case_after_the_debounce(bench: Bench) -> None:
    images = ct()
    bench.take(*images, seg(images, names=images), seg(images, names=images, uid="1.2.3.5.2"))
    assert bench.opened(DEBOUNCE_S - 0.1) == []
    case = only(bench.opened(DEBOUNCE_S))
    assert (case.ct_series_instance_uid, case.ct_study_instance_uid) == (SERIES, handmade.STUDY)
    assert case.segmentations == (SEG, "1.2.3.5.2")
    assert (case.revision, case.missing) == (1, {})
    assert bench.opened(60) == []


@pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
def test_whatever_comes_first_the_case_is_the_same(tmp_path: Path, order: tuple[int, ...]) -> None:
    images = ct()
    objects = [images[:2], images[2:], [seg(images, names=images)], [seg(images, names=images, uid="1.2.3.5.2")]]
    bench = Bench(tmp_path)
    for step, part in enumerate(order):
        bench.take(*objects[part], now=NOW + step)
        assert bench.opened(step) == []
    case = only(bench.opened(3 + DEBOUNCE_S))
    reference = Bench(tmp_path / "reference")
    reference.take(*(one for part in objects for one in part))
    assert case.key == only(reference.opened()).key
    assert bench.opened(60) == []
    for one in (bench, reference):
        one.close()


def test_a_ct_without_segmentation_makes_no_case(bench: Bench) -> None:
    bench.take(*ct())
    assert bench.opened() == []
    subject = bench.ledger.subject(SERIES)
    assert subject is not None
    assert subject.check_at is None


# What a segmentation names


def test_one_that_names_the_series_only_waits_for_quiet(bench: Bench) -> None:
    images = ct()
    bench.take(series_only(images), *images[:2])
    bench.take(*images[2:], now=NOW + 8)
    assert opened_for(bench, 8 + QUIET_S - 1) == []
    assert only(opened_for(bench, 8 + QUIET_S + 5)).segmentations == (SEG,)


def test_one_that_names_images_only_belongs_to_their_series(bench: Bench) -> None:
    images = ct(OTHER)
    bench.take(instances_only(images), *ct(), *images)
    assert bench.row().ct_series_instance_uid is None
    case = only(opened_for(bench, DEBOUNCE_S + 5))
    assert case.ct_series_instance_uid == bench.row().ct_series_instance_uid == OTHER


@pytest.mark.parametrize("first", [SERIES, OTHER])
def test_of_images_in_two_series_the_majority_decides_whichever_comes_first(bench: Bench, first: str) -> None:
    series = {SERIES: ct(), OTHER: ct(OTHER)}
    bench.take(instances_only([*series[SERIES][:1], *series[OTHER]]), *series.pop(first))
    (rest,) = series.values()
    opened = opened_for(bench, 20)
    bench.take(*rest, now=NOW + 20)
    sweep(bench.archive, bench.ledger, now=NOW + 30)
    opened += [case for n in range(30, 60, 2) for case in bench.opened(n)]
    assert only(opened).ct_series_instance_uid == OTHER


def test_one_that_names_nothing_belongs_to_the_only_series_that_it_lies_in(bench: Bench) -> None:
    images = ct()
    bench.take(seg(images), *images, *ct(OTHER, frame="1.2.3.10"))
    assert opened_for(bench, QUIET_S - 1) == []
    assert only(opened_for(bench, SETTLED_S)).ct_series_instance_uid == SERIES


@pytest.mark.parametrize("first", [SERIES, OTHER])
def test_one_that_names_nothing_is_not_given_to_a_series_only_because_that_came_first(bench: Bench, first: str) -> None:
    series = {SERIES: ct(), OTHER: ct(OTHER, frame="1.2.3.10")}
    bench.take(seg(series[OTHER], FrameOfReferenceUID="1.2.3.10"), *series.pop(first))
    opened = opened_for(bench, 40)
    (rest,) = series.values()
    bench.take(*rest, now=NOW + 40)
    opened += [case for n in range(40, 80, 2) for case in bench.opened(n)]
    assert only(opened).ct_series_instance_uid == OTHER


def test_one_that_names_nothing_and_could_be_of_two_series_is_left_with_the_reason(bench: Bench) -> None:
    images = ct()
    bench.take(seg(images), *images, *ct(OTHER))
    assert opened_for(bench, SETTLED_S) == []
    assert bench.opened(DEADLINE_S + 400) == []
    state, reason = bench.state()
    assert state is INCOMPLETE
    assert "2 CT series of its frame of reference could be meant" in reason


def test_one_that_names_two_series_belongs_to_that_with_its_images(bench: Bench) -> None:
    images, others = ct(), ct(OTHER)
    both = seg(others, names=others)
    both.ReferencedSeriesSequence.extend(
        handmade.one(SeriesInstanceUID=SERIES, ReferencedInstanceSequence=Items([])),
    )
    bench.take(*images, both)
    assert opened_for(bench, 20) == []
    bench.take(*others, now=NOW + 20)
    assert only(opened_for(bench, 40)).ct_series_instance_uid == OTHER


def test_one_that_names_a_series_that_does_not_come_belongs_to_that_of_its_images(bench: Bench) -> None:
    images = ct()
    wrong = seg(images, names=images)
    wrong.ReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.3.99"
    bench.take(wrong, *images)
    assert only(opened_for(bench, 20)).ct_series_instance_uid == SERIES


def test_the_ct_may_be_in_another_study(bench: Bench) -> None:
    images = ct(study="1.2.3.77")
    bench.take(seg(images, names=images), *images)
    assert only(bench.opened()).ct_study_instance_uid == "1.2.3.77"


def test_the_ct_of_another_study_may_come_later(bench: Bench) -> None:
    images = ct(study="1.2.3.77")
    bench.take(seg(images, names=images))
    assert bench.opened() == []
    bench.take(*images, now=NOW + 20)
    assert only(bench.opened(20 + DEBOUNCE_S)).ct_study_instance_uid == "1.2.3.77"


def test_two_series_of_a_study_are_two_cases(bench: Bench) -> None:
    images, others = ct(), ct(OTHER)
    bench.take(*images, *others, seg(images, names=images), seg(others, names=others, uid="1.2.3.5.2"))
    assert {case.ct_series_instance_uid: case.segmentations for case in bench.opened()} == {
        SERIES: (SEG,),
        OTHER: ("1.2.3.5.2",),
    }


def test_one_that_was_drawn_on_something_else_than_ct_makes_no_case(bench: Bench) -> None:
    images = ct()
    for one in images:
        one.Modality, one.SOPClassUID = "MR", "1.2.840.10008.5.1.4.1.1.4"
        one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID
    bench.take(*images, seg(images, names=images), instances_only(images, uid="1.2.3.5.2"))
    assert opened_for(bench, 20) == []
    assert bench.opened(DEADLINE_S + 400) == []
    assert {bench.state(uid)[0] for uid in (SEG, "1.2.3.5.2")} == {INCOMPLETE}


# What is missing


def test_a_missing_image_is_waited_for_until_the_deadline(bench: Bench) -> None:
    images = ct()
    bench.take(seg(images, names=images), *images[1:])
    assert bench.opened() == []
    assert bench.opened(DEADLINE_S - 1) == []
    assert only(bench.opened(DEADLINE_S)).missing == {SEG: (str(images[0].SOPInstanceUID),)}
    assert bench.opened(DEADLINE_S + 60) == []
    bench.take(images[0], now=NOW + DEADLINE_S + 60)
    again = only(bench.opened(DEADLINE_S + 60 + DEBOUNCE_S))
    assert (again.revision, again.missing) == (2, {})


def test_complete_ones_do_not_wait_for_others(bench: Bench) -> None:
    images = ct()
    bench.take(seg(images, names=images), seg(images[1:], names=images[1:], uid="1.2.3.5.2"), *images[1:])
    first = only(bench.opened())
    assert first.segmentations == ("1.2.3.5.2",)
    second = only(bench.opened(DEADLINE_S))
    assert (second.segmentations, list(second.missing)) == ((SEG, "1.2.3.5.2"), [SEG])


@pytest.mark.parametrize("kind", ["series", "images", "nothing"])
def test_one_whose_ct_never_comes_is_incomplete_after_the_deadline_and_reviewed_when_it_comes_after_all(
    bench: Bench, kind: str
) -> None:
    images = ct()
    made = {"series": seg(images, names=images), "images": instances_only(images), "nothing": seg(images)}[kind]
    bench.take(made)
    assert bench.opened(DEADLINE_S - 400) == []
    assert bench.state() == (WAITING, "")
    assert bench.opened(DEADLINE_S) == []
    state, reason = bench.state()
    assert state is INCOMPLETE
    assert reason
    bench.take(*images, now=NOW + DEADLINE_S)
    assert only([case for n in range(20) for case in bench.opened(DEADLINE_S + 25 * n)]).missing == {}


def test_sweeps_do_not_keep_a_segmentation_waiting_that_waits_for_quiet(bench: Bench) -> None:
    images = ct()
    bench.take(series_only(images), *images)
    opened = []
    for second in range(1, 21):
        sweep(bench.archive, bench.ledger, now=NOW + second)
        opened += bench.opened(second)
    assert only(opened).segmentations == (SEG,)


def test_a_sweep_finds_images_that_nobody_told_of(bench: Bench) -> None:
    images = ct()
    bench.take(seg(images, names=images))
    assert bench.opened() == []
    bench.archive.store([outgoing(one) for one in images])
    assert bench.opened(60) == []
    sweep(bench.archive, bench.ledger, now=NOW + 60)
    assert len(bench.opened(60)) == 1


# Revisions


def test_more_images_and_more_segmentations_are_new_revisions_and_nothing_new_is_none(bench: Bench) -> None:
    images = ct()
    bench.take(*images[:3], seg(images[:3], names=images[:3]))
    assert only(bench.opened()).revision == 1
    bench.take(images[3], now=NOW + 10)
    assert only(bench.opened(10 + DEBOUNCE_S)).revision == 2
    bench.take(seg(images, names=images, uid="1.2.3.5.2"), now=NOW + 20)
    third = only(bench.opened(20 + DEBOUNCE_S))
    assert (third.revision, third.segmentations) == (3, (SEG, "1.2.3.5.2"))
    bench.take(*images, seg(images, names=images, uid="1.2.3.5.2"), now=NOW + 30)
    assert bench.opened(30 + DEBOUNCE_S) == []


def test_other_rules_are_a_new_revision_when_the_series_is_looked_at_again(bench: Bench) -> None:
    images = ct()
    bench.take(*images, seg(images, names=images))
    first = only(bench.opened())
    bench.ledger.look_again([SERIES], now=NOW + 20)
    assert bench.opened(20) == []
    rules = ruleset_with({"rules": {"F3": {"max_fraction_outside": 0.123}}})
    assert rules.hash != default_ruleset().hash
    others = bench.scheduler_with(rules)
    bench.ledger.look_again([SERIES], now=NOW + 40)
    second = only(others.run_once(now=NOW + 40))
    assert (second.revision, second.ruleset_hash) == (2, rules.hash)
    assert second.segmentations == first.segmentations
    assert bench.ledger.case(first.case_id).state == "superseded"
    bench.ledger.look_again([SERIES], now=NOW + 60)
    back = only(bench.opened(60))  # nobody has used the other rules meanwhile
    assert (back.key, back.revision) == (first.key, 3)


def test_evaluating_by_two_at_a_time_opens_one_case(bench: Bench) -> None:
    images = ct()
    bench.take(*images, seg(images, names=images))
    other = bench.scheduler_with(default_ruleset())
    assert len([*bench.opened(), *other.run_once(now=NOW + DEBOUNCE_S)]) == 1
    bench.ledger.look_again([SERIES], now=NOW + 30)
    assert [*other.run_once(now=NOW + 30), *bench.opened(30)] == []
