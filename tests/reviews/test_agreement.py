from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from segqa_dicom.reviews.exchange.tables import decoded, read_table
from segqa_dicom.reviews.statistics.agreement import (
    AgreementReport,
    Pair,
    Rating,
    agreement,
    as_json,
    ratings_of_tables,
)
from segqa_dicom.reviews.statistics.agreement_figure import agreement_figure
from segqa_dicom.reviews.statistics.estimates import Undefined
from tests.command import segqa
from tests.shared import shared

AIMI = ("tables", "aimi_lung_ct_qa_results.csv")


def rated(reader: str, subject: str, grade: int | None, *, structure: str = "liver", reading: int = 1) -> Rating:
    return Rating(reader, subject, structure, grade, reading, "test")


def report(ratings: list[Rating], **options) -> AgreementReport:
    return agreement(ratings, **({"seed": 1, "resamples": 200, "minimum": 3} | options))


def only_pair(found: AgreementReport) -> Pair:
    (pair,) = found.overall.pairs
    return pair


def many(subjects: int = 60) -> list[Rating]:
    """Two readers who mostly agree and one who is a step stricter, on three structures; anna reads some twice."""
    generator = np.random.default_rng(5)
    ratings = []
    for number in range(subjects):
        truth = int(generator.integers(1, 6))
        structure = ("liver", "spleen", "aorta")[number % 3]
        for reader, shift in (("anna", 0), ("bert", 0), ("carla", -1)):
            grade = int(np.clip(truth + shift + generator.integers(-1, 2), 1, 5))
            ratings.append(rated(reader, f"{number}", grade, structure=structure))
        if number % 4 == 0:
            ratings.append(rated("anna", f"{number}", truth, structure=structure, reading=2))
    return ratings


def test_the_double_readings_of_aimi_give_the_published_numbers() -> None:
    # The pairs: all series with a row of rad1 and a row of rad2. These are the 94 rows with Validation = TRUE; no
    # reader has two rows of a series, and ne1 shares none with anybody. They come from 44 patients.
    table = read_table(decoded(shared(*AIMI).read_bytes()))
    found = agreement(ratings_of_tables([("aimi", table)]), seed=1)
    pair = only_pair(found)
    assert (pair.first, pair.second, pair.n_subjects) == ("rad1", "rad2", 47)
    numbers = pair.statistics
    assert numbers.n_clusters == 44
    assert numbers.exact.value == pytest.approx(0.362, abs=5e-4)
    assert numbers.within_one.value == pytest.approx(0.809, abs=5e-4)
    assert numbers.tau_b.value == pytest.approx(0.420, abs=5e-4)
    assert numbers.kappa.value == pytest.approx(0.175, abs=5e-4)
    assert numbers.kappa_linear.value == pytest.approx(0.301, abs=5e-4)
    assert numbers.kappa_quadratic.value == pytest.approx(0.416, abs=5e-4)
    assert numbers.kappa_quadratic.low == pytest.approx(0.15, abs=0.03)
    assert numbers.kappa_quadratic.high == pytest.approx(0.64, abs=0.03)
    assert numbers.acceptable.value == pytest.approx(0.702, abs=5e-4)
    assert numbers.kappa_acceptable.value == pytest.approx(0.34, abs=5e-3)
    assert numbers.bias.value == pytest.approx(0.596, abs=5e-4)
    assert (numbers.mean_first, numbers.mean_second) == (pytest.approx(3.60, abs=5e-3), pytest.approx(4.19, abs=5e-3))
    assert numbers.signed_rank.p_normal == pytest.approx(0.0006, abs=5e-5)
    assert numbers.signed_rank.p == pytest.approx(0.0003, abs=5e-5)


def test_all_pairs_structures_and_repeats_are_reported() -> None:
    found = report(many())
    assert [(pair.first, pair.second, pair.n_subjects) for pair in found.overall.pairs] == [
        ("anna", "bert", 60), ("anna", "carla", 60), ("bert", "carla", 60),
    ]  # fmt: skip
    assert [(group.structure, group.n_subjects, len(group.pairs)) for group in found.structures] == [
        ("aorta", 20, 3), ("liver", 20, 3), ("spleen", 20, 3),
    ]  # fmt: skip
    assert [(pair.first, pair.second, pair.n_subjects) for pair in found.repeats] == [("anna", "anna", 15)]
    assert found.overall.n_complete == 60
    assert found.overall.fleiss.low < found.overall.fleiss.value < found.overall.alpha_ordinal.value
    assert any("9 comparisons of single structures" in note for note in found.notes)


def test_the_strict_reader_is_found() -> None:
    found = {one.reader: one for one in report(many()).readers}
    assert found["carla"].bias.high < 0 < found["anna"].bias.value
    assert found["carla"].mean < found["anna"].mean
    assert found["carla"].acceptable.value < found["anna"].acceptable.value


def test_repeats_do_not_count_between_readers() -> None:
    base = [rated(reader, str(n), n) for n in range(1, 6) for reader in ("anna", "bert")]
    again = [rated("anna", str(n), 6 - n, reading=2) for n in range(1, 6)]
    assert only_pair(report(base + again)).statistics == only_pair(report(base)).statistics


def test_not_assessable_is_counted_and_no_grade() -> None:
    base = [rated(reader, str(n), n) for n in range(1, 6) for reader in ("anna", "bert")]
    found = report([*base, rated("anna", "x", None), rated("bert", "x", 5), rated("bert", "y", None)])
    pair = only_pair(found)
    assert (pair.n_subjects, pair.n_not_assessable) == (5, 1)
    assert pair.statistics == only_pair(report(base)).statistics
    assert found.n_not_assessable == 2
    assert [one.n_not_assessable for one in found.readers] == [1, 1]
    assert any("2 ratings are 'not assessable'" in note for note in found.notes)


def test_too_few_subjects_give_counts_only() -> None:
    pair = only_pair(report([rated(reader, str(n), n) for n in (2, 4) for reader in ("anna", "bert")]))
    assert (pair.n_subjects, pair.statistics) == (2, None)
    assert pair.table[1][1] == pair.table[3][3] == 1


def test_the_later_rating_of_the_same_reading_counts() -> None:
    base = [rated(reader, str(n), 4) for n in range(5) for reader in ("anna", "bert")]
    found = report([*base, rated("anna", "0", 1)])
    assert only_pair(found).table[0][3] == 1
    assert found.n_replaced == 1


def test_readers_and_structures_can_be_chosen() -> None:
    found = report(many(), readers=["anna", "carla"], structures=["liver"])
    assert (only_pair(found).first, only_pair(found).second, only_pair(found).n_subjects) == ("anna", "carla", 20)
    assert [group.structure for group in found.structures] == ["liver"]


def test_segments_of_one_segmentation_are_resampled_together() -> None:
    ratings = [
        Rating(reader, f"{seg}/{number}", "liver", 1 + (seg + shift) % 5, 1, "test", cluster=str(seg))
        for seg in range(12)
        for number in range(10)
        for reader, shift in (("anna", 0), ("bert", seg % 3 == 0))
    ]
    statistics = only_pair(report(ratings)).statistics
    assert (statistics.n_subjects, statistics.n_clusters) == (120, 12)
    assert statistics.exact.high - statistics.exact.low > 0.3


def test_no_ratings_give_an_empty_report() -> None:
    found = report([])
    assert (found.n_ratings, found.readers, found.overall.pairs, found.structures) == (0, (), (), ())
    json.dumps(as_json(found), allow_nan=False)


def test_the_report_is_json_without_nan() -> None:
    text = json.dumps(
        as_json(report([rated(r, str(n), 4) for n in range(5) for r in ("anna", "bert")])), allow_nan=False
    )
    kappa = json.loads(text)["overall"]["pairs"][0]["statistics"]["kappa"]
    assert kappa == {"value": None, "low": None, "high": None, "method": "", "reason": Undefined.ONE_GRADE.value}


def test_the_figure_is_one_without_scripts_that_says_its_numbers() -> None:
    ratings = [*many(), rated("<b>&", "0", 3), rated("<b>&", "1", 3)]
    figure = agreement_figure(report(ratings))
    root = ET.fromstring(figure)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags == {"svg", "title", "desc", "rect", "text", "path", "circle"}
    assert root.get("role") == "img"
    assert "http" not in figure.replace("http://www.w3.org/2000/svg", "")
    found = report(ratings)
    for pair in (*found.overall.pairs, *found.repeats):
        if pair.statistics:
            assert f"{pair.statistics.kappa_quadratic.value:.2f} (" in figure
    assert "too few for statistics" in figure


def test_the_figure_of_nothing_says_so() -> None:
    assert "No two readers have rated the same." in agreement_figure(report([]))


def table_of(path: Path, *rows: tuple[str, int, str]) -> Path:
    header = "Reviewer,StudyInstanceUID,SeriesInstanceUID,AISegmentation,LikertScore\n"
    path.write_text(header + "".join(f"{reader},1.2,1.2.{subject},a.dcm,{grade}\n" for reader, subject, grade in rows))
    return path


@pytest.mark.servers
def test_a_table_is_enough_for_the_command(tmp_path: Path) -> None:
    rows = [
        (reader, n, str(1 + (n + shift) % 5)) for n in range(12) for reader, shift in (("anna", 0), ("bert", n % 2))
    ]
    file = table_of(tmp_path / "t.csv", *rows)
    done = segqa("agreement", "--csv", file, "--json", "--svg", tmp_path / "new" / "a.svg", "--seed", 3)
    assert done.code == 0
    assert done.json["overall"]["pairs"][0]["n_subjects"] == 12
    assert done.json["bootstrap"]["seed"] == 3
    assert (tmp_path / "new" / "a.svg").read_text(encoding="utf-8").startswith("<svg")
    shown = segqa("agreement", "--csv", file)
    assert shown.code == 0
    assert "anna, bert" in shown.out
    assert "bootstrap with 2000 resamples" in shown.out


@pytest.mark.servers
def test_lines_that_cannot_be_used_end_with_one(tmp_path: Path) -> None:
    done = segqa("agreement", "--csv", table_of(tmp_path / "t.csv", ("anna", 1, "4"), ("anna", 2, "good")))
    assert done.code == 1
    assert "t.csv, line 3: the rating 'good' is no whole number from 1 to 5" in done.err


@pytest.mark.servers
def test_annotations_of_several_readers_are_put_together(tmp_path: Path) -> None:
    for reader, grades in (("anna", "1234512345"), ("bert", "1334413445")):
        lines = "".join(f"/{reader}/case{n}.nii.gz,{grade},\n" for n, grade in enumerate(grades))
        (tmp_path / f"{reader}.csv").write_text(lines)
    files = ["--csv", f"anna={tmp_path / 'anna.csv'}", "--csv", f"bert={tmp_path / 'bert.csv'}"]
    asked = segqa("agreement", *files)
    assert asked.code == 2
    assert "say which" in asked.err
    done = segqa("agreement", *files, "--minor-changes", "3", "--minimum", "5", "--json")
    assert done.code == 0
    pair = done.json["overall"]["pairs"][0]
    assert (pair["n_subjects"], pair["n_not_assessable"]) == (8, 2)
    nobody = segqa("agreement", "--csv", tmp_path / "anna.csv", "--minor-changes", "3")
    assert nobody.code == 2
    assert "--csv NAME=" in nobody.err


@pytest.mark.servers
@pytest.mark.parametrize("arguments", [["--csv", "nowhere.csv"], ["--archive", "nowhere"], ["--resamples", "1"]])
def test_wrong_use_ends_with_two(arguments: list[str], tmp_path: Path) -> None:
    done = segqa("agreement", *[tmp_path / one if one.startswith("nowhere") else one for one in arguments])
    assert done.code == 2
    assert not (tmp_path / "nowhere").exists()
