"""The page: complete, sorted, harmless whatever labels say, and without anything from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from segqa_dicom.checks import default_ruleset, rule_titles
from segqa_dicom.model import Case, CtFacts
from segqa_dicom.pipeline import review
from segqa_dicom.report import html
from segqa_dicom.report.html import render_case, render_not_reviewed, render_page
from tests.scenes import (
    ADRENAL_LEFT,
    KIDNEY_LEFT,
    KIDNEY_RIGHT,
    LIVER,
    SPLEEN,
    Part,
    box,
    case,
    ct,
    segmentation,
)

HOSTILE = '<script>alert(1)</script>" onload="x'
VOID = {"meta", "input", "br", "image", "path"}


class Balance(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def page(found: Case, **options: int) -> str:
    fragment = render_case(review(found, default_ruleset()), found, rule_titles=rule_titles(), **options)
    return render_page([fragment])


def swapped_kidneys() -> Case:
    parts = [
        Part("liver", LIVER, [box(4, 8, 8, (10, 20, 8)), (slice(20, 21), slice(30, 31), slice(30, 31))]),
        Part("kidney_left", KIDNEY_LEFT, [box(8, 15, 18, 4)]),
        Part("kidney_right", KIDNEY_RIGHT, [box(8, 15, 26)]),
        Part("adrenal_left", ADRENAL_LEFT, [box(0, 30, 26, 4)]),
        Part("spleen", SPLEEN, []),
    ]
    other = [
        Part("liver", LIVER, [box(4, 8, 8, (10, 20, 8))]),
        Part("kidney_left", KIDNEY_LEFT, [box(8, 15, 26)]),
        Part("spleen", SPLEEN, []),
    ]
    return case(segmentation(parts), segmentation(other, uid="1.2.4.2"))


def test_tags_are_balanced() -> None:
    balance = Balance()
    balance.feed(page(swapped_kidneys()))
    assert balance.open == []


def test_findings_are_worst_first_and_notes_are_folded() -> None:
    shown, notes = page(swapped_kidneys()).split("notes for information")
    severities = re.findall(r'class="badge (\w+)"', shown)
    assert severities == sorted(severities, key=["error", "warning", "info"].index)
    assert "error" in severities
    assert "warning" in severities
    assert "adrenal_left" in notes


def test_a_located_finding_has_a_picture_of_three_planes() -> None:
    cards = page(swapped_kidneys()).split("<article")
    (kidney,) = [card for card in cards if "badge error" in card and "</span> kidney_left <span" in card]
    assert kidney.count("<svg") == 3
    assert 'class="m0"' in kidney
    assert 'class="m1"' in kidney  # the other model's kidney is drawn as well
    assert "CT slice" in kidney


def test_disagreement_without_a_failed_rule_is_shown() -> None:
    assert "against the other segmentations" in page(swapped_kidneys())


def test_the_heat_map_has_a_column_per_pair_and_says_what_is_undefined() -> None:
    found = page(swapped_kidneys())
    heat = found[found.index('<table class="heat">') :]
    assert heat.count('class="pair"') == 1
    assert 'title="undefined: both are empty"' in heat
    assert re.search(r'<th scope="row">kidney_left</th><td title="Dice 0.0000" class="h0">0.00</td>', heat)


def test_labels_cannot_break_out() -> None:
    found = page(
        case(segmentation([Part(HOSTILE, LIVER, [box(0, 15, 15), box(16, 28, 28, 5)])], series_description=HOSTILE))
    )
    assert HOSTILE not in found
    assert "<script>alert" not in found
    assert 'onload="x' not in found


def test_nothing_comes_from_elsewhere() -> None:
    assert re.findall(r"(?:https?:)?//[\w.]+", page(swapped_kidneys())) == []


def test_no_patient_is_named() -> None:
    found = page(swapped_kidneys())
    assert "Test^Case" not in found


def test_pictures_and_cards_are_limited_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert page(swapped_kidneys(), max_pictures=1).count("<svg") == 3
    monkeypatch.setattr(html, "MAX_CARDS", 1)
    assert re.search(r"and \d+ more findings", page(swapped_kidneys()))


def test_without_hu_and_without_others_numbers_are_dashes() -> None:
    volume = ct(facts=CtFacts(hu_defined=False, hu_note="no rescale"))
    found = page(case(segmentation([Part("liver", LIVER, [box(8, 15, 15)])]), volume=volume))
    assert "–" in found
    assert "None" not in found
    assert "no rescale" in found


def test_a_case_without_complaints_says_so() -> None:
    found = page(case(segmentation([Part("liver", LIVER, [box(8, 15, 15)])])))
    assert "Nothing to complain about." in found


def test_what_was_left_out_is_listed() -> None:
    found = render_page([render_not_reviewed([("a/<b>.dcm", None, "cut"), ("c.dcm", "1.2", "other patient")])])
    assert "a/&lt;b&gt;.dcm" in found
    assert "other patient" in found
