"""When a CT series can be reviewed, and what makes two reviews the same: decided from what has arrived and the time."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segqa_dicom.ledger import SegmentationRow
from segqa_dicom.service.readiness import QUIET_S, Decision, decide, majority, revision_key
from tests.ledger.factories import segmentation

NOW = 1_700_000_000.0
DEADLINE_S = 600.0


def seg(uid: str, *images: str, arrived_at: float = NOW, **changes: Any) -> SegmentationRow:
    return segmentation(uid, referenced_instances=images, arrived_at=arrived_at, **changes)


def at(now: float, rows: list[SegmentationRow], present: set[str], arrived_at: float = NOW) -> Decision:
    return decide(rows, present, arrived_at=arrived_at, now=now, deadline_s=DEADLINE_S)


def names(rows: tuple[SegmentationRow, ...]) -> list[str]:
    return [row.sop_instance_uid for row in rows]


A, B, NOTHING = seg("1.9.1", "1", "2"), seg("1.9.2", "2", "3"), seg("1.9.3")
LATER = seg("1.9.4", "2", "3", arrived_at=NOW + 5)
NEXT = seg("1.9.5", "2", "3", arrived_at=NOW + 60)


@pytest.mark.parametrize(
    ("rows", "present", "after_s", "reviewable", "waiting", "check_after_s"),
    [
        pytest.param([], {"1"}, 0, [], [], None, id="no segmentation"),
        pytest.param([A], set(), 0, [], [A], DEADLINE_S, id="no image"),
        pytest.param([A], set(), DEADLINE_S, [], [A], None, id="no image at the deadline: only an arrival helps"),
        pytest.param([A], {"1"}, 0, [], [A], DEADLINE_S, id="an image is missing"),
        pytest.param([A], {"1"}, DEADLINE_S - 1, [], [A], DEADLINE_S, id="just before the deadline"),
        pytest.param([A], {"1"}, DEADLINE_S, [A], [], None, id="at the deadline"),
        pytest.param([A], {"1", "2", "3"}, 0, [A], [], None, id="all are there, at once"),
        pytest.param([A, B], {"1", "2"}, 0, [A], [B], DEADLINE_S, id="the other one waits"),
        pytest.param([B, A], {"1", "2", "3"}, 0, [A, B], [], None, id="together, by their UIDs"),
        pytest.param([NOTHING], {"1"}, QUIET_S - 1, [], [NOTHING], QUIET_S, id="names nothing: quiet is awaited"),
        pytest.param([NOTHING], {"1"}, QUIET_S, [NOTHING], [], None, id="names nothing: quiet is over"),
        pytest.param([NOTHING], set(), QUIET_S, [], [NOTHING], None, id="names nothing, and there is none"),
        pytest.param([A, LATER], {"2"}, DEADLINE_S - 1, [], [A, LATER], DEADLINE_S, id="neither is given up"),
        pytest.param([A, LATER], {"2"}, DEADLINE_S, [A, LATER], [], None, id="sent together, given up together"),
        pytest.param([A, NEXT], {"2"}, DEADLINE_S, [A], [NEXT], DEADLINE_S + 50, id="sent later, given up later"),
        pytest.param([A, NOTHING], {"1"}, 0, [], [A, NOTHING], QUIET_S, id="the sooner of two times counts"),
    ],
)
def test_what_can_be_reviewed(
    rows: list[SegmentationRow],
    present: set[str],
    after_s: float,
    reviewable: list[SegmentationRow],
    waiting: list[SegmentationRow],
    check_after_s: float | None,
) -> None:
    decision = at(NOW + after_s, rows, present)
    assert (decision.reviewable, decision.waiting) == (tuple(reviewable), tuple(waiting))
    assert decision.check_at == (None if check_after_s is None else NOW + check_after_s)


def test_missing_images_are_named_by_segmentation() -> None:
    decision = at(NOW + DEADLINE_S, [A, B, NOTHING], {"2"})
    assert decision.missing == {"1.9.1": ("1",), "1.9.2": ("3",)}
    assert names(decision.reviewable) == ["1.9.1", "1.9.2", "1.9.3"]


images = st.sampled_from([f"1.1.{number}" for number in range(6)])
rows = st.builds(
    lambda number, refers, age_s: seg(f"1.9.{number}", *refers, arrived_at=NOW - age_s, digest=f"{number}"),
    st.integers(1, 9),
    st.lists(images, unique=True, max_size=4),
    st.floats(0, 2 * DEADLINE_S),
)
segmentations = st.lists(rows, max_size=5, unique_by=lambda row: row.sop_instance_uid)


@given(segmentations, st.sets(images), st.randoms(use_true_random=False))
def test_the_order_of_arrival_decides_nothing(rows: list[SegmentationRow], present: set[str], chance: Random) -> None:
    mixed = chance.sample(rows, len(rows))
    assert at(NOW, mixed, present) == at(NOW, rows, present)


@given(segmentations, st.sets(images))
def test_everyone_is_either_reviewed_or_waited_for_and_nothing_is_waited_for_in_the_past(
    rows: list[SegmentationRow], present: set[str]
) -> None:
    decision = at(NOW, rows, present)
    assert sorted(names(decision.reviewable + decision.waiting)) == sorted(row.sop_instance_uid for row in rows)
    assert set(decision.missing) <= set(names(decision.reviewable))
    assert decision.check_at is None or decision.check_at > NOW
    if decision.waiting and present:
        assert decision.check_at is not None
        assert len(at(decision.check_at, rows, present).reviewable) > len(decision.reviewable)


@given(segmentations, st.sets(images), images, st.floats(0, DEADLINE_S))
def test_neither_more_images_nor_more_time_take_a_review_back(
    rows: list[SegmentationRow], present: set[str], more: str, later_s: float
) -> None:
    before = set(names(at(NOW, rows, present).reviewable))
    assert before <= set(names(at(NOW, rows, present | {more}).reviewable))
    assert before <= set(names(at(NOW + later_s, rows, present).reviewable))


# The series that a segmentation belongs to


@pytest.mark.parametrize(
    ("counts", "absent", "found"),
    [
        ({}, 0, None),
        ({}, 5, None),
        ({"1.1": 3}, 0, "1.1"),
        ({"1.1": 3}, 2, "1.1"),
        ({"1.1": 3}, 3, None),
        ({"1.1": 3, "1.2": 4}, 0, "1.2"),
        ({"1.1": 3, "1.2": 4}, 1, None),
        ({"1.2": 3, "1.1": 3}, 0, "1.1"),
        ({"1.1": 0}, 0, "1.1"),
        ({"1.1": 0, "1.2": 0}, 1, None),
    ],
)
def test_the_series_with_most_images_is_taken_when_the_others_cannot_change_that(
    counts: dict[str, int], absent: int, found: str | None
) -> None:
    assert majority(counts, absent) == found


@given(st.lists(st.sampled_from(["1.1", "1.2", "1.3"]), max_size=12), st.randoms(use_true_random=False))
def test_whatever_arrives_first_the_majority_is_that_of_all(series: list[str], chance: Random) -> None:
    def counted(some: list[str]) -> dict[str, int]:
        return {uid: some.count(uid) for uid in some}

    chance.shuffle(series)
    early = [majority(counted(series[:n]), len(series) - n) for n in range(len(series) + 1)]
    assert set(early) - {None} <= {early[-1]}
    assert series == [] or early[-1] is not None


# What makes a revision


def key(present: list[str], rows: list[SegmentationRow], **changes: Any) -> str:
    values: dict[str, Any] = {"series": "1.1", "ruleset_hash": "rules", "measuring_version": 1, "conflicts": ()}
    values |= changes
    return revision_key(values.pop("series"), present, rows, **values)


conflicts = st.lists(st.tuples(images, st.sampled_from("ab"), st.sampled_from("cd")), max_size=4)


@given(st.lists(images, unique=True), segmentations, conflicts, st.randoms(use_true_random=False))
def test_the_key_is_that_of_what_arrived_and_not_of_the_order(
    present: list[str], rows: list[SegmentationRow], seen: list[tuple[str, str, str]], chance: Random
) -> None:
    mixed = [chance.sample(one, len(one)) for one in (present, rows, seen)]
    assert key(mixed[0], mixed[1], conflicts=mixed[2]) == key(present, rows, conflicts=seen)


def test_the_key_changes_with_each_thing_that_decides_a_review() -> None:
    keys = [
        key(["1", "2"], [A]),
        key(["1", "2"], [A], series="1.2"),
        key(["1", "2", "3"], [A]),
        key(["1", "2"], [A, B]),
        key(["1", "2"], [seg("1.9.1", "1", "2", digest="other")]),
        key(["1", "2"], [A], ruleset_hash="others"),
        key(["1", "2"], [A], measuring_version=2),
        key(["1", "2"], [A], conflicts=[("1", "a", "b")]),
        key(["1", "2"], [A], conflicts=[("1", "a", "c")]),
    ]
    assert len(set(keys)) == len(keys)
    assert all(len(one) == 64 for one in keys)


def test_the_key_does_not_depend_on_when_or_how_often_something_arrived() -> None:
    later = seg("1.9.1", "1", "2", arrived_at=NOW + 5, reason="refused before")
    assert key(["1", "2"], [A]) == key(["2", "1"], [later])
