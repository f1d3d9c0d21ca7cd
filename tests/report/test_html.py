"""The page: complete, sorted, harmless whatever labels say, and without anything from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import html as html_text
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from segqa_dicom.checks import Finding, Outcome, Severity, rule_titles, ruleset_with
from segqa_dicom.model import Case, CtFacts
from segqa_dicom.pipeline import review
from segqa_dicom.report import html
from segqa_dicom.report.html import render_case, render_not_reviewed, render_page
from tests.scenes import (
    ADRENAL_LEFT,
    KIDNEY_LEFT,
    KIDNEY_RIGHT,
    LIVER,
    NO_SIZES,
    SPLEEN,
    Part,
    box,
    case,
    ct,
    segmentation,
)

HOSTILE = '<script>alert(1)</script>" onload="x data-cases="7'
VOID = {"meta", "input", "br", "image", "path", "link"}


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
    fragment = render_case(review(found, ruleset_with(NO_SIZES)), found, rule_titles=rule_titles(), **options)
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
    (kidney,) = [
        card for card in cards if 'class="badge error"' in card and "<bdi>kidney_left</bdi></h4>" in plain(card)
    ]
    assert kidney.count("<svg") == 3
    assert 'class="m0 strong blamed"' in kidney
    assert 'class="m1 strong"' in kidney  # the other model's kidney is drawn as well
    assert "CT slice" in kidney
    assert "soft tissue window, W 400 L 40" in kidney


def plain(text: str) -> str:
    return re.sub(r' <span class="risk".*?</span>', "", text)


def test_what_is_said_about_a_structure_is_on_one_card_whoever_drew_it() -> None:
    found = cards_of(swapped_kidneys())
    subjects = [re.search(r"<bdi>(.*?)</bdi>", card)[1] for card in found]  # type: ignore[index]
    assert len(set(subjects)) == len(subjects)
    (kidney,) = [card for card, subject in zip(found, subjects, strict=True) if subject == "kidney_left"]
    assert re.findall(r"<bdi>(result \d)</bdi> <b>0.00</b>", kidney) == ["result 1", "result 2"]


def cards_of(found: Case) -> list[str]:
    return [card.split("</article>")[0] for card in page(found).split("<article")[1:]]


def test_disagreement_without_a_failed_rule_is_shown() -> None:
    assert "against the other segmentations" in page(swapped_kidneys())


def test_findings_about_several_structures_name_them_and_draw_them() -> None:
    found = swapped_kidneys()
    report = review(found, ruleset_with(NO_SIZES))
    keys = {one.segment.label: one.structure_key for one in report.segmentations[0].segments}
    finding = Finding(
        "X4",
        Outcome.FAIL,
        Severity.ERROR,
        "shifted",
        location_mm=(0.0, 0.0, 30.0),
        sop_instance_uids=("1.2.4.2",),
        structure_keys=(keys["kidney_left"], keys["liver"]),
    )
    whole = Finding("K9", Outcome.WARNING, Severity.WARNING, "about the scan")
    fragment = render_case(replace(report, findings=(whole, finding)), found, rule_titles={})
    first = fragment.split("<article")[1]
    assert "<bdi>kidney_left, liver</bdi>" in first
    assert 'class="m1 strong blamed"' in first
    assert "risk" not in first
    assert re.search(r"</span> warning</span> <bdi>CT series</bdi>", fragment)


def test_severity_comes_before_risk() -> None:
    found = swapped_kidneys()
    fragment = render_case(review(found, ruleset_with(NO_SIZES)), found, rule_titles=rule_titles())
    for kind in ("error", "warning"):
        cards = re.findall(rf'<article class="card {kind}">.*?</h4>', fragment, re.DOTALL)
        risks = [float(risk) for card in cards for risk in re.findall(r"risk ([\d.]+)</span>", card)]
        assert risks
        assert risks == sorted(risks, reverse=True)


def test_the_heat_map_has_a_column_per_pair_and_says_what_is_undefined() -> None:
    found = page(swapped_kidneys())
    heat = found[found.index('<table class="heat">') :]
    assert heat.count("A–B</th>") == 1
    assert 'title="undefined: both are empty (result 1 and result 2)"' in heat
    row = r'<th scope="row"><bdi>kidney_left</bdi></th><td title="[^"]*" class="h0">0.00</td><td title="Dice 0.0000'
    assert re.search(row, heat)


def test_a_blank_of_the_heat_map_says_who_lacks_the_structure() -> None:
    liver, spleen = Part("liver", LIVER, [box(8, 15, 15)]), Part("spleen", SPLEEN, [box(14, 15, 15)])
    parts = ([liver, spleen], [liver, spleen], [liver])
    found = page(case(*(segmentation(part, uid=f"1.2.4.{n}") for n, part in enumerate(parts, start=1))))
    assert found.count('title="not in result 3"') == 2


def test_totals_and_contents_cover_all_sections() -> None:
    found = swapped_kidneys()
    fragment = render_case(review(found, ruleset_with(NO_SIZES)), found, rule_titles=rule_titles())
    text = render_page([fragment, fragment, render_not_reviewed([("a", None, "b")])])
    totals = dict(re.findall(r"<dt>([^<]+)</dt><dd>(\d+)</dd></div>", text[: text.index("<main>")]))
    assert totals["CT series"] == "2"
    assert totals["segmentations"] == "4"
    assert totals["structures"] == "16"
    assert totals["not reviewed"] == "1"
    assert sum(int(totals[name]) for name in ("failed", "to look at", "usable")) == 16
    for target in re.findall(r'href="#([^"]+)"', text):
        assert f'id="{target}"' in text


def test_a_page_without_any_section_is_a_page() -> None:
    assert "<main>" in render_page([])


def test_labels_cannot_break_out() -> None:
    found = page(
        case(
            segmentation(
                [Part(HOSTILE, LIVER, [box(0, 15, 15), box(16, 28, 28, 5)])], series_description=HOSTILE + "\x00\ud800"
            )
        )
    )
    assert HOSTILE not in found
    assert "\x00" not in found
    found.encode("utf-8")
    assert "<script>alert" not in found
    assert 'onload="x' not in found


def test_only_our_script_may_run() -> None:
    found = page(swapped_kidneys())
    (script,) = re.findall(r"<script>(.*?)</script>", found, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html_text.unescape(found)


def test_names_cannot_change_the_totals() -> None:
    found = case(segmentation([Part("liver", LIVER, [box(8, 15, 15)])]))
    record = replace(found.ct.record, series_description='x" data-cases="7"><section data-cases="9"')
    found = replace(found, ct=replace(found.ct, record=record))
    assert "<dt>CT series</dt><dd>1</dd>" in page(found)


def test_nothing_comes_from_elsewhere() -> None:
    assert re.findall(r"(?:https?:)?//[\w.]+", page(swapped_kidneys())) == []


def test_no_patient_is_named() -> None:
    found = page(swapped_kidneys())
    assert "Test^Case" not in found


def test_pictures_and_cards_are_limited_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert page(swapped_kidneys(), max_pictures=1).count("<svg") == 3
    monkeypatch.setattr(html, "MAX_CARDS", 1)
    assert re.search(r"and \d+ more findings", page(swapped_kidneys()))


def test_rows_of_tables_are_limited_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "MAX_ROWS", 2)
    found = page(swapped_kidneys())
    assert "2 of 8 segments: those of the highest risk" in found
    assert re.search(r"and \d+ more structures that agree better", found)
    assert "and 1 more" in render_not_reviewed([("a", None, "b")] * 3)


def test_pictures_that_are_left_out_are_counted() -> None:
    assert re.search(r"\d+ findings? with a location ha(s|ve) no picture", page(swapped_kidneys(), max_pictures=0))


def test_segments_with_one_code_are_told_apart_by_label() -> None:
    parts = [Part(f"tumour {n}", LIVER, [box(4 + 8 * n, 15, 15)]) for n in range(2)]
    found = page(case(segmentation(parts), segmentation(parts, uid="1.2.4.2")))
    heat = found[found.index('<table class="heat">') :]
    assert re.findall(r'<th scope="row"><bdi>(tumour \d)</bdi>', heat[: heat.index("</table>")]) == [
        "tumour 0",
        "tumour 1",
    ]


def test_without_hu_and_without_others_numbers_are_dashes() -> None:
    volume = ct(facts=CtFacts(hu_defined=False, hu_note="no rescale"))
    found = page(case(segmentation([Part("liver", LIVER, [box(8, 15, 15)])]), volume=volume))
    assert "–" in found
    assert '<span title="undefined">–</span>' in found
    assert "values are not HU" not in found  # no picture, nothing to explain
    assert ">None<" not in found
    assert "no rescale" in found


def test_a_case_without_complaints_says_so() -> None:
    found = page(case(segmentation([Part("liver", LIVER, [box(8, 15, 15)])])))
    assert "Nothing to complain about." in found


def test_what_was_left_out_is_listed() -> None:
    found = render_page([render_not_reviewed([("a/<b>.dcm", None, "cut"), ("c.dcm", "1.2", "other patient")])])
    assert "a/&lt;b&gt;.dcm" in found
    assert "other patient" in found
