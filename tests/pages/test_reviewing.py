"""Readers in Chromium: by the keyboard alone, while the service dies, in two windows, several at once."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Error
from pydicom import Dataset

from tests.pages.conftest import Reader, filled
from tests.servers.process import wait_until
from tests.servers.service import Serve, documents_at
from tests.shared import shared

pytestmark = pytest.mark.servers
Another = Callable[..., Reader]
GRADES = "5432154320"


def reviews_of(serve: Serve, headers: dict[str, str] | None = None) -> list[Dataset]:
    return [one for one in documents_at(f"{serve.url}/dicom-web") if is_review(one)]


def is_review(document: Dataset) -> bool:
    return any(rating for rating in ratings_of(document).values())


def ratings_of(document: Dataset) -> dict[int, str]:
    """Rating by Segment Number, read from the content tree itself."""
    found: dict[int, str] = {}

    def walk(item: Dataset) -> None:
        number, rating = 0, ""
        for child in item.get("ContentSequence", ()):
            name = child.ConceptNameCodeSequence[0].CodeValue if child.get("ConceptNameCodeSequence") else ""
            if child.ValueType == "IMAGE" and name != "CONCERNS":
                number = int(child.ReferencedSOPSequence[0].get("ReferencedSegmentNumber") or number)
            if name == "RATING":
                rating = str(child.ConceptCodeSequence[0].CodeValue)
            walk(child)
        if rating:
            found[number] = rating

    walk(document)
    return found


def texts_of(item: Dataset) -> Iterator[str]:
    yield str(item.get("TextValue", ""))
    for child in item.get("ContentSequence", ()):
        yield from texts_of(child)


def review_ten(reader: Reader) -> dict[tuple[str, int], str]:
    """Ten segments by the keyboard alone; which rating each was given."""
    given: dict[tuple[str, int], str] = {}
    reader.open_first()
    for at, grade in enumerate(GRADES):
        reader.wait_ready()
        page = reader.known()
        reader.press(grade)
        if grade in "21":
            reader.wait_drawn()
            reader.press("o", "o", ".", "u", "Shift+U", "g", "g", "j", "j", "/")
            reader.type(f"comment {at}: 1 2 u o n")
            reader.press("Escape")
        given[page["segmentation"], page["segment"]] = "NA" if grade == "0" else f"R{grade}"
        reader.finish()
    return given


def sign_by_keyboard(reader: Reader) -> None:
    reader.open("/sign")
    reader.page.wait_for_selector("button.first:focus")
    reader.press("Enter")
    reader.page.get_by_role("heading", name="Stored in the archive").or_(
        reader.page.get_by_role("heading", name="Being stored")
    ).wait_for()


def check_signed(serve: Serve, given: dict[tuple[str, int], str]) -> None:
    wanted: dict[str, dict[int, str]] = {}
    for (uid, number), rating in given.items():
        wanted.setdefault(uid, {})[number] = rating
    wait_until(lambda: len(reviews_of(serve)) == len(wanted), 60, "the documents are in the archive")
    found = reviews_of(serve)
    assert sorted(map(str, (ratings_of(one) for one in found))) == sorted(map(str, map(_sorted, wanted.values())))


def _sorted(ratings: dict[int, str]) -> dict[int, str]:
    return dict(sorted(ratings.items()))


def test_ten_segments_are_reviewed_and_signed_by_the_keyboard_alone(reader: Reader, serve: Serve) -> None:
    given = review_ten(reader)
    assert len(given) == 10
    sign_by_keyboard(reader)
    check_signed(serve, given)
    assert "comment 3: 1 2 u o n" in "".join(text for one in reviews_of(serve) for text in texts_of(one))


@pytest.mark.shared
def test_ten_segments_of_a_real_case_are_reviewed_by_the_keyboard_alone(
    browser: BrowserContext, tmp_path: Path
) -> None:
    case = tmp_path / "case"
    shutil.copytree(shared("data", "case_A", "ct"), case / "ct")
    for name in ("seg_ts1.3_full.dcm", "seg_ts2.1_fast.dcm"):
        shutil.copy(shared("data", "case_A", name), case)
    with Serve(tmp_path / "serve") as serve:
        filled(serve, case)
        reader = Reader(browser.new_page(), serve.url)
        given = review_ten(reader)
        sign_by_keyboard(reader)
        check_signed(serve, given)
        reader.no_trouble()


# While the service dies


def kill_web(serve: Serve) -> None:
    """SIGKILL, whichever process it is now."""
    (pid,) = [pid for pid in serve.children() if _listens_at(pid, int(serve.ports["http_port"]))]
    os.kill(pid, signal.SIGKILL)


def _listens_at(pid: int, port: int) -> bool:
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    inodes = {parts[9] for line in lines if (parts := line.split())[3] == "0A" and parts[1].endswith(f":{port:04X}")}
    try:
        held = {str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return False
    return any(f"socket:[{inode}]" in held for inode in inodes)


def test_nothing_typed_is_lost_when_the_service_is_killed(reader: Reader, serve: Serve) -> None:
    reader.is_offline_expected = True
    reader.open("/?status=open")
    reader.press("n")
    reader.wait_ready()
    reader.wait_drawn()
    reader.press("3", "h", ".", "/")
    reader.type("typed before, ")
    kill_web(serve)
    reader.type("typed while it was dead")
    reader.press("Escape", "e")
    reader.wait_saved()
    stored = reader.stored()["content"]
    assert stored["comment"] == "typed before, typed while it was dead"
    assert [one["type"] for one in stored["findings"]] == ["hole", "excluded"]
    assert stored["findings"][0]["point_mm"]
    assert stored["rating"] == "3"


def test_what_the_service_did_not_get_comes_back_after_the_browser_has_crashed(
    reader: Reader, browser: BrowserContext, serve: Serve
) -> None:
    reader.is_offline_expected = True
    broken = Reader(browser.new_page(), serve.url, is_offline_expected=True)
    broken.open("/?status=open")
    broken.press("n")
    broken.wait_ready()
    url = broken.page.url
    broken.page.route("**/api/reviews/drafts/**", lambda route: route.abort())
    broken.press("2", "x", "/")
    broken.type("kept in this browser")
    broken.page.wait_for_selector("#saved.bad")
    assert "kept in this browser" in broken.text("#saved")
    with suppress(Error):
        broken.page.goto("chrome://crash")
    reader.page.goto(url)
    reader.wait_saved()
    assert "was restored" in reader.text("#restored")
    stored = reader.stored()["content"]
    assert (stored["rating"], stored["comment"], len(stored["findings"])) == ("2", "kept in this browser", 1)


def test_a_page_that_goes_away_sends_what_was_typed_last(reader: Reader) -> None:
    reader.open("/?status=open")
    reader.press("n")
    reader.wait_ready()
    url = reader.page.url
    reader.press("4", "b")
    reader.page.goto("about:blank")
    wait_until(lambda: reader.page.request.get(url).ok, 10)
    reader.page.goto(url)
    reader.wait_ready()
    assert reader.page.locator("[data-rating='4']").get_attribute("aria-pressed") == "true"
    wait_until(lambda: reader.stored()["content"]["rating"] == "4", 20, "the service has it")


# Two windows, two readers


def test_two_windows_of_a_reader_are_told_of_each_other(reader: Reader, browser: BrowserContext, serve: Serve) -> None:
    reader.is_offline_expected = True  # the console notes the status 409, too
    reader.open("/?status=open")
    reader.press("n")
    reader.wait_ready()
    other = Reader(browser.new_page(), serve.url)
    other.page.goto(reader.page.url)
    other.wait_ready()
    other.press("5")
    other.wait_saved()
    reader.press("1", "s")
    dialog = reader.page.locator("#conflict")
    dialog.wait_for()
    assert "Unusable" in reader.text("#conflict-mine")
    assert "Use as is" in reader.text("#conflict-theirs")
    reader.press("2")
    assert "Unusable" in reader.text("#conflict-mine"), "keys wait until it is decided"
    reader.page.click("#keep-mine")
    reader.wait_saved()
    assert reader.stored()["content"]["rating"] == "1"


@pytest.fixture(scope="module")
def behind_proxy(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    settings = {
        "SEGQA_USER_HEADER": "X-User",
        "SEGQA_USER_NAME_HEADER": "X-Name",
        "SEGQA_PROXY_TOKEN": "s3cret",
        "SEGQA_ADJUDICATORS": "carl",
    }
    with Serve(tmp_path_factory.mktemp("proxied"), settings=settings) as started:
        filled(started, study)
        yield started


def test_two_readers_at_once_and_somebody_who_decides(behind_proxy: Serve, another: Another) -> None:
    def joined(login: str, name: str) -> Reader:
        return another(behind_proxy.url, **{"X-User": login, "X-Name": name, "X-Segqa-Proxy-Token": "s3cret"})

    anna, ben, carl = joined("anna", "Anna Alpha"), joined("ben", "Ben Beta"), joined("carl", "Carl Gamma")
    for one in (anna, ben):
        one.open_first()
    assert anna.page.url == ben.page.url
    url = anna.page.url
    anna.press("5")
    ben.press("1", "o")
    anna.finish()
    ben.finish()
    ben.page.goto(url)
    assert "Anna" not in ben.page.content()
    for one in (anna, ben):
        sign_by_keyboard(one)
    carl.open("/adjudicate")
    carl.page.locator("main table a").first.click()
    carl.wait_ready()
    assert "Anna Alpha" in carl.text(".others")
    assert "Ben Beta" in carl.text(".others")
    carl.press("2")
    carl.finish()
    sign_by_keyboard(carl)
    for one in (anna, ben, carl):
        one.no_trouble()


def test_without_the_proxy_nobody_gets_in(behind_proxy: Serve, another: Another) -> None:
    stranger = another(behind_proxy.url, **{"X-User": "anna"})
    answer = stranger.page.goto(f"{behind_proxy.url}/")
    assert answer is not None
    assert answer.status == 403
    assert "by its proxy only" in stranger.text("main")


# Pictures


def shown(reader: Reader, view: str = "axial") -> int:
    caption = reader.text(f".plane.{view} .caption")
    return int(caption.split()[1].split("/")[0])


def settled(reader: Reader, condition: Callable[[], Any], what: str) -> None:
    wait_until(condition, 20, what)


def test_slices_follow_wheel_keys_and_clicks(reader: Reader) -> None:
    reader.open_first()
    reader.wait_drawn()
    first = shown(reader)
    reader.press("ArrowDown")
    settled(reader, lambda: abs(shown(reader) - first) == 1, "the next slice")
    reader.press("ArrowUp", "PageUp")
    settled(reader, lambda: abs(shown(reader) - first) in (10, 64 - first, first - 1), "ten slices")
    reader.press("r", "r")
    settled(reader, lambda: shown(reader) == first, "back")
    box = reader.page.locator(".plane.axial").bounding_box()
    assert box
    reader.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    reader.page.mouse.wheel(0, 100)
    settled(reader, lambda: abs(shown(reader) - first) == 1, "one notch is one slice")
    before = shown(reader, "coronal"), shown(reader, "sagittal")
    reader.page.mouse.click(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.6)
    settled(reader, lambda: (shown(reader, "coronal"), shown(reader, "sagittal")) != before, "all planes follow")


def test_a_finding_lies_where_it_was_put_after_the_page_is_opened_again(reader: Reader) -> None:
    reader.open("/?status=open")
    reader.press("n")
    reader.wait_drawn()
    reader.press("m")
    assert "Missing structure" in reader.text("#hint")
    box = reader.page.locator(".plane.axial").bounding_box()
    assert box
    reader.page.mouse.click(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4)
    assert reader.page.locator("#hint").is_hidden()
    reader.press("f")
    reader.page.keyboard.down("Shift")
    reader.page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    reader.page.mouse.down()
    reader.page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.7, steps=4)
    reader.page.mouse.up()
    reader.page.keyboard.up("Shift")
    settled(reader, lambda: reader.stored()["content"]["findings"][1]["box_mm"], "the box is saved")
    words, places = reader.text("#found"), (shown(reader), shown(reader, "coronal"), shown(reader, "sagittal"))
    one, other = reader.stored()["content"]["findings"]
    assert one["box_mm"] is None
    low, high = other["box_mm"]
    assert sorted(round(b - a, 3) > 0 for a, b in zip(low, high, strict=True)) == [False, True, True]
    reader.page.reload()
    reader.wait_drawn()
    assert (shown(reader), shown(reader, "coronal"), shown(reader, "sagittal")) == places
    assert reader.text("#found") == words


def test_contours_and_windows_have_keys(reader: Reader) -> None:
    reader.open("/?status=open")
    reader.press("n")
    reader.wait_drawn()
    own, others = reader.page.locator(".plane.axial path.own"), reader.page.locator(".plane.axial path.faint").first
    assert own.count() == 1
    reader.press("q")
    assert own.get_attribute("display") == "none"
    assert others.get_attribute("display") == "inline"
    reader.press("q", "z")
    assert own.get_attribute("display") == "inline"
    assert others.get_attribute("display") == "none"
    reader.press("Shift+Digit3")
    assert reader.page.locator("#windows button").nth(2).get_attribute("aria-pressed") == "true"
    assert reader.page.locator("#ratings [aria-pressed=true]").count() == 0


def test_letters_do_nothing_while_somebody_types(reader: Reader) -> None:
    reader.open("/?status=open")
    reader.press("n")
    reader.wait_ready()
    reader.press("/")
    reader.type("5 o u ? . q")
    assert reader.page.locator("#comment").input_value() == "5 o u ? . q"
    assert reader.page.locator("#found li").count() == 0
    assert reader.page.locator("#ratings [aria-pressed=true]").count() == 0
    reader.press("Escape", "?")
    assert reader.page.locator("#help").is_visible()
    reader.press("o", "Escape")
    assert reader.page.locator("#help").is_hidden()
    assert reader.page.locator("#found li").count() == 0


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1920, 1080), (3840, 2160)])
def test_the_review_page_needs_no_scrolling(reader: Reader, width: int, height: int) -> None:
    reader.page.set_viewport_size({"width": width, "height": height})
    reader.open_first()
    reader.wait_drawn()
    assert not reader.scrolls()
    for selector in (".plane.axial", ".plane.coronal", ".plane.sagittal", "#ratings", "#types", "#comment", "#finish"):
        box = reader.page.locator(selector).bounding_box()
        assert box, selector
        assert box["x"] >= 0, selector
        assert box["y"] >= 0, selector
        assert box["x"] + box["width"] <= width + 1, selector
        assert box["y"] + box["height"] <= height + 1, selector
    axial = reader.page.locator(".plane.axial").bounding_box()
    assert axial
    assert axial["width"] * axial["height"] > 0.25 * width * height


def test_lists_need_no_sideways_scrolling(reader: Reader) -> None:
    for path in ("/", "/sign", "/adjudicate", "/agreement", "/rules", "/status"):
        reader.open(path)
        assert reader.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
