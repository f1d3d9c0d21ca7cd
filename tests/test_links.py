"""Links in the documentation: every relative target and every anchor exists."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)


def text_of(page: Path) -> str:
    """The page without its code blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors_of(page: Path) -> set[str]:
    """Anchors of headings as GitHub makes them: small letters, no punctuation, hyphens, numbers for repeats."""
    found: set[str] = set()
    seen: Counter[str] = Counter()
    for heading in _HEADING.findall(text_of(page)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def broken_links(page: Path) -> list[str]:
    """Relative links of the page whose file or anchor does not exist, or that leave the project."""
    broken = []
    for link in _LINK.findall(text_of(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        is_there = target.exists() and target.is_relative_to(ROOT)
        if not is_there or (anchor and anchor not in anchors_of(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_paths_named_in_code_and_configuration_exist() -> None:
    files = [*(ROOT / "segqa_dicom").rglob("*.py"), *(ROOT / "segqa_dicom").rglob("*.toml"), *ROOT.glob("orthanc/*")]
    files += [*(ROOT / "benchmarks").glob("*.py"), *ROOT.glob("*.y*ml"), ROOT / ".env.example", ROOT / "Dockerfile"]
    named = {
        path
        for file in files
        if file.is_file()
        for path in re.findall(r"docs/[\w/]+\.(?:md|png)", file.read_text(encoding="utf-8"))
    }
    assert len(named) > 5
    assert {path for path in named if not (ROOT / path).is_file()} == set()


def test_a_broken_link_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title one\n\n[a](#title-one) [b](#other) [c](gone.md) [d](https://example.org/x.md)\n")
    monkeypatch.setattr("tests.test_links.ROOT", tmp_path)
    assert broken_links(page) == ["#other", "gone.md"]
