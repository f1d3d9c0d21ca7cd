from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from segqa_dicom.reviews.statistics.estimates import Bootstrap, Estimate, Undefined, wilson
from segqa_dicom.reviews.statistics.measures import (
    ACCEPTABLE,
    GRADES,
    Level,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    landis_koch,
    mean_with_interval,
    pair_agreement,
    signed_rank,
)
from tests.tiers import examples

BOOTSTRAP = Bootstrap(seed=7, resamples=200)
# Fleiss 1971, table 1: 30 patients, six psychiatrists, five diagnoses; kappa .430
FLEISS_1971 = """
    444444 222555 233335 555555 222444 113333 333355 113334 114444 555555 144444 124444 222333 144444 224445
    333335 111455 111112 224444 133555 555555 244444 224555 114444 144445 222224 111155 224444 133333 555555
""".split()  # noqa: SIM905 - as a table
# Krippendorff 2011, section C: four observers, twelve units, missing data; "." = not observed
KRIPPENDORFF_2011 = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
GRADE_PAIRS = st.lists(st.tuples(st.integers(1, GRADES), st.integers(1, GRADES)), min_size=2, max_size=40)


def counts_of(units: list[str], categories: int = 5) -> list[list[int]]:
    return [[unit.count(str(grade)) for grade in range(1, categories + 1)] for unit in units]


def weights(power: int) -> list[list[float]]:
    return [[float(abs(i - j) ** power) if power else float(i != j) for j in range(GRADES)] for i in range(GRADES)]


def test_cohen_1960_and_1968_are_reproduced() -> None:
    # Personality disorder, neurosis, psychosis; 200 patients. Plain .492; weighted with 1, 3 and 6: .348
    table = [[88, 14, 18], [10, 40, 10], [2, 6, 12]]
    pairs = [(i + 1, j + 1) for i in range(3) for j in range(3) for _ in range(table[i][j])]
    first, second = zip(*pairs, strict=True)
    plain = cohen_kappa(first, second, disagreement=weights(0), bootstrap=BOOTSTRAP)
    assert plain.value == pytest.approx(0.492, abs=5e-4)
    disagreement = np.zeros((GRADES, GRADES))
    disagreement[:3, :3] = [[0, 1, 3], [1, 0, 6], [3, 6, 0]]
    weighted = cohen_kappa(first, second, disagreement=disagreement.tolist(), bootstrap=BOOTSTRAP)
    assert weighted.value == pytest.approx(0.348, abs=5e-4)


def test_fleiss_1971_is_reproduced() -> None:
    found = fleiss_kappa(counts_of(FLEISS_1971), bootstrap=BOOTSTRAP)
    assert len(FLEISS_1971) == 30
    assert found.value == pytest.approx(0.430, abs=5e-4)
    assert found.low < found.value < found.high


@pytest.mark.parametrize(
    ("level", "expected"), [(Level.NOMINAL, 0.743), (Level.ORDINAL, 0.815), (Level.INTERVAL, 0.849)]
)
def test_krippendorff_2011_with_missing_data_is_reproduced(level: Level, expected: float) -> None:
    units = ["".join(row[unit] for row in KRIPPENDORFF_2011) for unit in range(12)]
    found = krippendorff_alpha(counts_of(units), level, bootstrap=BOOTSTRAP)
    assert found.value == pytest.approx(expected, abs=6e-4)


def test_wilson_is_reproduced() -> None:
    # Newcombe 1998 (Stat Med 17:857), table I: 81/263 and 0/20
    assert wilson(81, 263) == Estimate(
        pytest.approx(0.3080, abs=5e-5), pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5), "Wilson"
    )
    nothing = wilson(0, 20)
    assert (nothing.low, nothing.high) == (pytest.approx(0), pytest.approx(0.1611, abs=5e-5))
    assert wilson(0, 0) == Estimate(None, reason=Undefined.NONE)


def kappa_by_definition(pairs: list[tuple[int, int]], power: int) -> float | None:
    """One minus observed disagreement over that of all pairs of one grade of each reader."""
    disagree = weights(power)
    observed = sum(disagree[a - 1][b - 1] for a, b in pairs) / len(pairs)
    chance = sum(disagree[a - 1][b - 1] for a, _ in pairs for _, b in pairs) / len(pairs) ** 2
    return None if chance == 0 else 1 - observed / chance


def alpha_by_definition(units: list[list[int]], level: Level) -> float | None:
    """One minus disagreement of pairs within units over that of all pairs of grades that are in pairs."""
    units = [unit for unit in units if len(unit) >= 2]
    everything = [grade for unit in units for grade in unit]

    def distance(a: int, b: int) -> float:
        if level is Level.NOMINAL:
            return float(a != b)
        if level is Level.INTERVAL:
            return float((a - b) ** 2)
        low, high = min(a, b), max(a, b)
        between = sum(low <= grade <= high for grade in everything)
        return (between - (everything.count(low) + everything.count(high)) / 2) ** 2 if low < high else 0.0

    observed = sum(distance(a, b) / (len(unit) - 1) for unit in units for a, b in permutations(unit, 2))
    chance = sum(distance(a, b) for a, b in permutations(everything, 2))
    return (
        None if chance == 0 else 1 - (observed / len(everything)) / (chance / (len(everything) * (len(everything) - 1)))
    )


@examples(60)
@given(GRADE_PAIRS)
def test_agreement_of_two_is_what_the_definitions_say(pairs: list[tuple[int, int]]) -> None:
    first, second = zip(*pairs, strict=True)
    found = pair_agreement(first, second, bootstrap=BOOTSTRAP)
    n = len(pairs)
    assert found.exact.value == pytest.approx(sum(a == b for a, b in pairs) / n)
    assert found.within_one.value == pytest.approx(sum(abs(a - b) <= 1 for a, b in pairs) / n)
    sides = [(a >= ACCEPTABLE, b >= ACCEPTABLE) for a, b in pairs]
    assert found.acceptable.value == pytest.approx(sum(a == b for a, b in sides) / n)
    assert found.bias.value == pytest.approx(np.mean(np.subtract(second, first)))
    for power, estimate in enumerate((found.kappa, found.kappa_linear, found.kappa_quadratic)):
        assert estimate.value == pytest.approx(kappa_by_definition(pairs, power))
    accepted = [(1 + a, 1 + b) for a, b in sides]
    assert found.kappa_acceptable.value == pytest.approx(kappa_by_definition(accepted, 0))
    tau = stats.kendalltau(first, second).statistic
    assert found.tau_b.value == (None if np.isnan(tau) else pytest.approx(tau))


@examples(40)
@given(st.lists(st.lists(st.integers(1, GRADES), max_size=5), max_size=12), st.sampled_from(Level))
def test_alpha_is_what_its_definition_says(units: list[list[int]], level: Level) -> None:
    counts = counts_of(["".join(map(str, unit)) for unit in units])
    found = krippendorff_alpha(counts, level, bootstrap=BOOTSTRAP)
    if sum(len(unit) >= 2 for unit in units) < 2:
        assert found == Estimate(None, reason=Undefined.TOO_FEW)
    else:
        assert found.value == pytest.approx(alpha_by_definition(units, level))


@examples(40)
@given(GRADE_PAIRS)
def test_fleiss_of_two_readers_is_scotts_pi(pairs: list[tuple[int, int]]) -> None:
    found = fleiss_kappa(counts_of([f"{a}{b}" for a, b in pairs]), bootstrap=BOOTSTRAP)
    grades = [grade for pair in pairs for grade in pair]
    chance = sum((grades.count(grade) / len(grades)) ** 2 for grade in set(grades))
    observed = sum(a == b for a, b in pairs) / len(pairs)
    assert found.value == (None if chance == 1 else pytest.approx((observed - chance) / (1 - chance)))


@examples(30)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=12))
def test_signed_rank_is_what_all_signs_give(differences: list[int]) -> None:
    values = [value for value in differences if value]
    found = signed_rank(differences)
    assert found.n_different == len(values)
    if not values:
        assert found.p is None
        return
    ranks = stats.rankdata(np.abs(values))
    signs = np.array(np.meshgrid(*[(0, 1)] * len(values))).reshape(len(values), -1)
    sums = ranks @ signs
    positive = ranks[np.array(values) > 0].sum()
    tail = min(np.mean(sums <= positive + 1e-9), np.mean(sums >= positive - 1e-9))
    assert found.p == pytest.approx(min(1, 2 * tail))


def test_signed_rank_by_the_normal_approximation_is_scipys() -> None:
    differences = np.random.default_rng(3).integers(-2, 5, 300)
    expected = stats.wilcoxon(differences, method="approx").pvalue
    found = signed_rank(differences)
    assert found.p == found.p_normal == pytest.approx(expected)


def test_bca_intervals_are_those_of_scipy() -> None:
    generator = np.random.default_rng(11)
    values = generator.integers(0, 4, 60).astype(float) ** 2
    found = mean_with_interval(values, bootstrap=Bootstrap(seed=5, resamples=20_000))
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    assert found.method == "BCa bootstrap"
    assert (found.low, found.high) == (pytest.approx(expected.low, abs=0.05), pytest.approx(expected.high, abs=0.05))


def test_intervals_of_kappa_hold_the_truth_about_as_often_as_they_say() -> None:
    chances = np.full((GRADES, GRADES), 0.1 / 8)
    chances[np.arange(GRADES), np.arange(GRADES)] = 0.14
    chances[np.arange(4), np.arange(1, 5)] = chances[np.arange(1, 5), np.arange(4)] = 0.2 / 8
    chances /= chances.sum()
    disagreement = np.array(weights(2))
    truth = 1 - (chances * disagreement).sum() / (chances.sum(1) @ disagreement @ chances.sum(0))
    generator = np.random.default_rng(2)
    held = 0
    for seed in range(300):
        cells = generator.choice(GRADES * GRADES, size=47, p=chances.reshape(-1))
        first, second = cells // GRADES + 1, cells % GRADES + 1
        found = cohen_kappa(first, second, disagreement=weights(2), bootstrap=Bootstrap(seed, 500))
        held += found.low <= truth <= found.high
    assert 0.89 <= held / 300 <= 0.99


def test_the_seed_decides_the_interval() -> None:
    first, second = [1, 2, 3, 4, 5, 5, 3, 2], [1, 3, 3, 4, 4, 5, 2, 2]
    one, again, other = (
        pair_agreement(first, second, bootstrap=Bootstrap(seed, 300)).kappa for seed in (1, 1, 2)
    )  # fmt: skip
    assert one == again
    assert one.value == other.value
    assert (one.low, one.high) != (other.low, other.high)


def test_who_is_first_changes_the_sign_of_the_bias_only() -> None:
    first, second = [1, 2, 3, 4, 5, 5, 3, 2], [2, 3, 3, 4, 4, 5, 4, 2]
    one, other = (pair_agreement(*pair, bootstrap=BOOTSTRAP) for pair in ((first, second), (second, first)))
    assert one.bias.value == -other.bias.value
    for name in ("exact", "kappa", "kappa_quadratic", "tau_b"):
        assert getattr(one, name).value == pytest.approx(getattr(other, name).value)


def test_subjects_of_one_cluster_are_resampled_together() -> None:
    generator = np.random.default_rng(4)
    per_patient = generator.integers(1, 6, size=(30, 2))
    repeated = np.repeat(per_patient, 10, axis=0)
    patients = np.repeat(np.arange(30), 10)
    alone = pair_agreement(*per_patient.T, bootstrap=BOOTSTRAP).kappa_quadratic
    naive = pair_agreement(*repeated.T, bootstrap=BOOTSTRAP).kappa_quadratic
    together = pair_agreement(*repeated.T, bootstrap=BOOTSTRAP, cluster=patients.tolist())
    assert naive.high - naive.low < 0.5 * (alone.high - alone.low)
    kappa = together.kappa_quadratic
    assert kappa.high - kappa.low == pytest.approx(alone.high - alone.low, rel=0.25)
    assert (together.n_subjects, together.n_clusters) == (300, 30)
    assert together.exact.method == "BCa bootstrap"


def test_perfect_agreement_of_clusters_has_no_interval_of_width_zero() -> None:
    grades = [1, 2, 3, 4] * 3
    found = pair_agreement(grades, grades, bootstrap=BOOTSTRAP, cluster=[i // 2 for i in range(12)])
    assert found.exact.value == 1
    assert 0.5 < found.exact.low < 1
    assert found.exact.method.startswith("Wilson, clusters")
    assert (found.kappa.value, found.kappa.low, found.kappa.reason) == (1, None, Undefined.NO_SPREAD)


def test_one_grade_for_all_gives_undefined_not_zero() -> None:
    found = pair_agreement([4] * 10, [4] * 10, bootstrap=BOOTSTRAP)
    assert found.exact.value == 1
    for name in ("kappa", "kappa_linear", "kappa_quadratic"):
        assert getattr(found, name) == Estimate(None, reason=Undefined.ONE_GRADE)
    assert found.kappa_acceptable == Estimate(None, reason=Undefined.ONE_SIDE)
    assert found.tau_b == Estimate(None, reason=Undefined.CONSTANT_READER)
    assert found.signed_rank.p is None
    assert krippendorff_alpha([[0, 0, 0, 2, 0]] * 5, Level.ORDINAL, bootstrap=BOOTSTRAP).reason is Undefined.ONE_GRADE
    assert fleiss_kappa([[0, 0, 0, 3, 0]] * 5, bootstrap=BOOTSTRAP).reason is Undefined.ONE_GRADE


@pytest.mark.parametrize("grades", [[], [3]])
def test_fewer_than_two_subjects_give_undefined(grades: list[int]) -> None:
    found = pair_agreement(grades, grades, bootstrap=BOOTSTRAP)
    for name in ("exact", "within_one", "acceptable", "kappa", "kappa_acceptable", "tau_b", "bias"):
        assert getattr(found, name) == Estimate(None, reason=Undefined.TOO_FEW)
    assert found.mean_first == (3 if grades else None)


def test_a_measure_that_most_resamples_leave_undefined_has_no_interval() -> None:
    found = pair_agreement([4, 4, 4, 4, 4, 1], [4, 4, 4, 4, 4, 2], bootstrap=BOOTSTRAP)
    assert found.kappa.value is not None
    assert (found.kappa.low, found.kappa.reason) == (None, Undefined.OFTEN_UNDEFINED)


def test_grades_that_do_not_exist_and_unequal_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="from 1 to 5"):
        pair_agreement([0, 1], [1, 1], bootstrap=BOOTSTRAP)
    with pytest.raises(ValueError, match="2 grades"):
        pair_agreement([1, 1], [1], bootstrap=BOOTSTRAP)
    with pytest.raises(ValueError, match="1 clusters"):
        pair_agreement([1, 1], [1, 1], bootstrap=BOOTSTRAP, cluster=["a"])
    with pytest.raises(ValueError, match="same number of readers"):
        fleiss_kappa([[2, 0], [1, 2]], bootstrap=BOOTSTRAP)
    with pytest.raises(ValueError, match="level"):
        Bootstrap(seed=1, level=1.5)


@pytest.mark.parametrize(
    ("kappa", "word"),
    [(-0.1, "poor"), (0, "slight"), (0.2, "slight"), (0.21, "fair"), (0.416, "moderate"), (0.8, "substantial"), (0.81, "almost perfect")],
)  # fmt: skip
def test_words_of_landis_and_koch(kappa: float, word: str) -> None:
    assert landis_koch(kappa) == word


def test_three_subjects_are_enough_for_kappa() -> None:
    for first, second in combinations([(1, 1, 5), (1, 5, 5), (5, 1, 1), (1, 5, 1)], 2):
        pairs = list(zip(first, second, strict=True))
        found = pair_agreement(first, second, bootstrap=BOOTSTRAP)
        assert found.kappa.value == pytest.approx(kappa_by_definition(pairs, 0))
