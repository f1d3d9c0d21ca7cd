"""How far readers agree who grade the same subjects, with confidence intervals.

Grades are whole numbers from 1 to `GRADES`, ordinal. Every measure is a function of sums over subjects (of a table of
grades against grades, of coincidences), so resampling subjects is adding up what they contribute: 2,000 resamples of
thousands of subjects take a fraction of a second. Subjects that are not independent (segments of one patient) are
resampled together: see `cluster`.

Intervals: Wilson 1927 for proportions of independent subjects; else BCa bootstrap (Efron 1987, J Am Stat Assoc
82:171; bias-corrected and accelerated, acceleration by the jackknife), or the percentile bootstrap where BCa is not
defined. `Estimate.method` says which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

GRADES = 5
ACCEPTABLE = 4
"""From this grade on a segment is used as it is: 4 = stylistic edits only (AIMI scale)."""

_MOST_UNDEFINED = 0.05
"""Share of resamples in which a measure may be undefined; beyond it the rest does not stand for all."""
_CHUNK = 4_000_000
"""Numbers of subjects drawn at a time: 32 MB."""
_MOST_EXACT = 200
"""Differences up to which Wilcoxon's distribution is counted out."""

_Floats = NDArray[np.float64]
_Statistic = Callable[[_Floats], _Floats]
"""Sums (..., d) -> values (...); NaN where it is not defined, which never leaves this module."""


class Undefined(StrEnum):
    """Why there is no number, or no interval around it."""

    NONE = "no subjects"
    TOO_FEW = "fewer than two subjects"
    ONE_GRADE = "all gave the same grade to all: agreement by chance is certain"
    ONE_SIDE = "all grades are acceptable, or none is: agreement by chance is certain"
    CONSTANT_READER = "a reader gave the same grade to all"
    NO_SPREAD = "all resamples are the same"
    OFTEN_UNDEFINED = "undefined in more than 5 % of the resamples"


class Level(StrEnum):
    """What grades are for Krippendorff's alpha."""

    NOMINAL = "nominal"
    ORDINAL = "ordinal"
    INTERVAL = "interval"


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How intervals are made: the seed of the random numbers, the number of resamples, the level of confidence."""

    seed: int
    resamples: int = 2000
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.resamples < 2 or not 0 < self.level < 1 or self.seed < 0:
            raise ValueError("a bootstrap needs a seed of at least 0, two resamples, and a level between 0 and 1")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its confidence interval.

    value : None = undefined; low, high : None = there is no interval
    method : of the interval; empty without one
    reason : why the value or the interval is missing
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    method: str = ""
    reason: Undefined | None = None


@dataclass(frozen=True, slots=True)
class SignedRank:
    """Wilcoxon's signed-rank test (Biometrics Bulletin 1945, 1:80) of paired grades, two-sided.

    p : None without any difference
    n_different : pairs that are not the same; the others say nothing
    p_normal : by the normal approximation with correction for ties, as most programs report it
    """

    p: float | None
    n_different: int
    p_normal: float | None


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """Two readers on the same subjects.

    n_subjects, n_clusters : rated by both
    table : subjects by grade of the first (rows, 1 first) and of the second reader
    exact, within_one, acceptable : shares of subjects; acceptable = both or neither gave at least `ACCEPTABLE`
    kappa, kappa_linear, kappa_quadratic, kappa_acceptable : Cohen's kappa of all grades, and of acceptable or not
    tau_b : Kendall's rank correlation
    mean_first, mean_second : mean grades; None without subjects
    bias : mean of second minus first
    """

    n_subjects: int
    n_clusters: int
    table: tuple[tuple[int, ...], ...]
    exact: Estimate
    within_one: Estimate
    acceptable: Estimate
    kappa: Estimate
    kappa_linear: Estimate
    kappa_quadratic: Estimate
    kappa_acceptable: Estimate
    tau_b: Estimate
    mean_first: float | None
    mean_second: float | None
    bias: Estimate
    signed_rank: SignedRank


def pair_agreement(
    first: Sequence[int], second: Sequence[int], *, bootstrap: Bootstrap, cluster: Sequence[object] | None = None
) -> PairAgreement:
    """Agreement of two readers; `first` and `second` are their grades of the same subjects.

    cluster : per subject; those with the same one are resampled together. None = all are independent
    Undefined without at least two clusters.
    """
    one, two = _grades(first), _grades(second)
    if one.shape != two.shape:
        raise ValueError(f"{one.size} grades of one reader for {two.size} of the other")
    cells = np.zeros((one.size, GRADES * GRADES))
    cells[np.arange(one.size), (one - 1) * GRADES + two - 1] = 1
    resampling = _resampling(cells, cluster, bootstrap)
    steps = np.abs(np.subtract.outer(np.arange(GRADES), np.arange(GRADES))).astype(float)
    kappa = partial(_kappa_of, resampling)
    has_subjects = one.size > 0
    return PairAgreement(
        n_subjects=one.size,
        n_clusters=resampling.n,
        table=tuple(tuple(int(cell) for cell in row) for row in cells.sum(axis=0).reshape(GRADES, GRADES)),
        exact=_proportion(resampling, steps == 0),
        within_one=_proportion(resampling, steps <= 1),
        acceptable=_proportion(resampling, _is_same_side()),
        kappa=kappa((steps > 0).astype(float)),
        kappa_linear=kappa(steps),
        kappa_quadratic=kappa(steps**2),
        kappa_acceptable=kappa((~_is_same_side()).astype(float), Undefined.ONE_SIDE),
        tau_b=_estimate(resampling, lambda sums: _tau_b(_tables(sums)), Undefined.CONSTANT_READER),
        mean_first=float(one.mean()) if has_subjects else None,
        mean_second=float(two.mean()) if has_subjects else None,
        bias=_estimate(resampling, _mean_difference, Undefined.TOO_FEW),
        signed_rank=signed_rank(two - one),
    )


def cohen_kappa(
    first: Sequence[int],
    second: Sequence[int],
    *,
    disagreement: Sequence[Sequence[float]],
    bootstrap: Bootstrap,
    cluster: Sequence[object] | None = None,
) -> Estimate:
    """Cohen's kappa with any weights (Cohen 1960, Educ Psychol Meas 20:37; weighted 1968, Psychol Bull 70:213).

    disagreement : (GRADES, GRADES), 0 = the same. All 1 off the diagonal: plain kappa; |i - j|: linear; its square:
        quadratic weights
    ONE_GRADE if both gave one and the same grade to all, TOO_FEW with fewer than two clusters.
    """
    cells = np.zeros((len(first), GRADES * GRADES))
    cells[np.arange(len(first)), (_grades(first) - 1) * GRADES + _grades(second) - 1] = 1
    return _kappa_of(_resampling(cells, cluster, bootstrap), np.asarray(disagreement, float))


def fleiss_kappa(
    counts: Sequence[Sequence[int]], *, bootstrap: Bootstrap, cluster: Sequence[object] | None = None
) -> Estimate:
    """Fleiss' kappa of several readers (Fleiss 1971, Psychol Bull 76:378): grades as categories without order.

    counts : (subjects, categories), how many readers chose which; the same number of readers, at least two, for all
    """
    table = _counts(counts)
    readers = np.unique(table.sum(axis=1))
    if readers.size > 1 or np.any(readers < 2):
        raise ValueError("Fleiss' kappa needs the same number of readers, at least two, for all subjects")
    m = float(readers[0]) if readers.size else 2.0
    agreeing = (table * (table - 1)).sum(axis=1, keepdims=True) / (m * (m - 1))
    features = np.hstack([table, agreeing, np.ones((len(table), 1))])
    return _estimate(_resampling(features, cluster, bootstrap), _fleiss, Undefined.ONE_GRADE)


def krippendorff_alpha(
    counts: Sequence[Sequence[int]], level: Level, *, bootstrap: Bootstrap, cluster: Sequence[object] | None = None
) -> Estimate:
    """Krippendorff's alpha of any number of readers, each of whom may have left out subjects.

    counts : (subjects, grades), how many readers gave which grade; subjects with fewer than two count for nothing
    Source: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability (coincidences; ordinal metric by ranks).
    The interval is of resampled subjects, not of resampled coincidences as in Krippendorff's own program.
    """
    table = _counts(counts)
    readers = table.sum(axis=1)
    kept = readers >= 2
    table, readers = table[kept], readers[kept]
    pairs = table[:, :, None] * table[:, None, :] - table[:, :, None] * np.eye(table.shape[1])
    features = (pairs / (readers - 1)[:, None, None]).reshape(len(table), table.shape[1] ** 2)
    clusters = None if cluster is None else [one for one, is_kept in zip(cluster, kept, strict=True) if is_kept]
    return _estimate(_resampling(features, clusters, bootstrap), partial(_alpha, level=level), Undefined.ONE_GRADE)


def mean_with_interval(
    values: Sequence[float] | NDArray[Any], *, bootstrap: Bootstrap, cluster: Sequence[object] | None = None
) -> Estimate:
    """Mean over subjects."""
    column = np.asarray(values, float).reshape(-1, 1)
    features = np.hstack([column, np.ones_like(column)])
    return _estimate(_resampling(features, cluster, bootstrap), _ratio, Undefined.TOO_FEW)


def proportion(values: Sequence[bool], *, bootstrap: Bootstrap, cluster: Sequence[object] | None = None) -> Estimate:
    """Share of subjects for which something holds: Wilson if all are independent, else BCa over clusters."""
    is_true = np.asarray(values, bool).reshape(-1, 1)
    features = np.hstack([is_true, ~is_true]).astype(float)
    return _proportion(_resampling(features, cluster, bootstrap), np.array([True, False]))


def wilson(successes: int, n: int, *, level: float = 0.95) -> Estimate:
    """A proportion with Wilson's score interval (J Am Stat Assoc 1927, 22:209); undefined for n = 0."""
    if n == 0:
        return Estimate(None, reason=Undefined.NONE)
    share = successes / n
    low, high = _wilson(share, n, level)
    return Estimate(share, low, high, "Wilson")


def signed_rank(differences: Sequence[float] | NDArray[Any]) -> SignedRank:
    """Wilcoxon's test of the differences of independent pairs; those of 0 are left out, as by Wilcoxon.

    The distribution given the ties is counted out for up to 200 differences, and approximated beyond.
    """
    values = np.asarray(differences, float)
    values = values[values != 0]
    if values.size == 0:
        return SignedRank(None, 0, None)
    twice_ranks, ties = _twice_ranks(np.abs(values))
    positive = int(twice_ranks[values > 0].sum())
    p_normal = _signed_rank_normal(positive / 2, values.size, ties)
    exact = _signed_rank_exact(twice_ranks, positive) if values.size <= _MOST_EXACT else p_normal
    return SignedRank(exact, int(values.size), p_normal)


def landis_koch(kappa: float) -> str:
    """Words for a kappa (Landis and Koch 1977, Biometrics 33:159): arbitrary, and nothing without the interval."""
    bounds = ((0.0, "poor"), (0.20, "slight"), (0.40, "fair"), (0.60, "moderate"), (0.80, "substantial"))
    if kappa < 0:
        return "poor"
    return next((word for bound, word in bounds[1:] if kappa <= bound), "almost perfect")


@dataclass(frozen=True, eq=False, slots=True)
class _Resampling:
    """Sums over all clusters, over each resample of them, and over all but one.

    n : number of clusters; is_clustered : some hold several subjects
    total : (d,)
    samples : (resamples, d)
    without_one, times : (m, d) and (m,), how many clusters give the same sums when left out
    """

    n: int
    is_clustered: bool
    total: _Floats
    samples: _Floats
    without_one: _Floats
    times: NDArray[np.int64]
    level: float


def _resampling(features: _Floats, cluster: Sequence[object] | None, bootstrap: Bootstrap) -> _Resampling:
    subjects = len(features)
    if cluster is not None:
        if len(cluster) != subjects:
            raise ValueError(f"{len(cluster)} clusters for {subjects} subjects")
        number = {one: place for place, one in enumerate(dict.fromkeys(cluster))}
        sums = np.zeros((len(number), features.shape[1]))
        np.add.at(sums, [number[one] for one in cluster], features)
        features = sums
    n = len(features)
    total = features.sum(axis=0)
    # Clusters that contribute the same are drawn as one with a higher chance: there are few of those
    patterns, times = np.unique(features, axis=0, return_counts=True)
    samples = np.zeros((bootstrap.resamples if n > 1 else 0, features.shape[1]))
    generator = np.random.default_rng(bootstrap.seed)
    step = max(_CHUNK // max(len(patterns), 1), 1)
    for start in range(0, len(samples), step):
        size = min(step, len(samples) - start)
        samples[start : start + size] = generator.multinomial(n, times / n, size=size).astype(float) @ patterns
    return _Resampling(n, n < subjects, total, samples, total - patterns, times, bootstrap.level)


def _estimate(resampling: _Resampling, statistic: _Statistic, when_undefined: Undefined) -> Estimate:
    if resampling.n < 2:
        return Estimate(None, reason=Undefined.TOO_FEW)
    value = _finite(statistic(resampling.total))
    if value is None:
        return Estimate(None, reason=when_undefined)
    samples = statistic(resampling.samples)
    defined = samples[np.isfinite(samples)]
    if defined.size < (1 - _MOST_UNDEFINED) * samples.size:
        return Estimate(value, reason=Undefined.OFTEN_UNDEFINED)
    if np.ptp(defined) < 1e-12:
        return Estimate(value, reason=Undefined.NO_SPREAD)
    tails = ((1 - resampling.level) / 2, (1 + resampling.level) / 2)
    corrected = _bca(value, defined, statistic(resampling.without_one), resampling.times, tails)
    low, high = np.quantile(defined, corrected or tails)
    return Estimate(value, float(low), float(high), "BCa bootstrap" if corrected else "percentile bootstrap")


def _bca(
    value: float, samples: _Floats, without_one: _Floats, times: NDArray[np.int64], tails: tuple[float, float]
) -> tuple[float, float] | None:
    """The quantiles of the resamples that bound the interval; None if they are not defined."""
    normal = NormalDist()
    # Values that are equal but for rounding count half below, half above
    below = float(np.mean(samples < value - 1e-9) + np.mean(samples < value + 1e-9)) / 2
    if not 0 < below < 1 or not np.all(np.isfinite(without_one)):
        return None
    deviations = np.average(without_one, weights=times) - without_one
    spread = float((times * deviations**2).sum())
    if spread <= 0:
        return None
    acceleration = float((times * deviations**3).sum()) / (6 * spread**1.5)
    bias = normal.inv_cdf(below)

    def corrected(tail: float) -> float:
        shifted = bias + normal.inv_cdf(tail)
        return normal.cdf(bias + shifted / (1 - acceleration * shifted))

    return corrected(tails[0]), corrected(tails[1])


def _proportion(resampling: _Resampling, cells: NDArray[np.bool_]) -> Estimate:
    """The share of subjects in some cells of the table."""
    if resampling.n < 2:
        return Estimate(None, reason=Undefined.TOO_FEW)
    chosen = cells.reshape(-1).astype(float)
    n = float(resampling.total.sum())
    share = float(resampling.total @ chosen) / n
    if not resampling.is_clustered:
        low, high = _wilson(share, n, resampling.level)
        return Estimate(share, low, high, "Wilson")

    def statistic(sums: _Floats) -> _Floats:
        return _divided(sums @ chosen, sums.sum(axis=-1))

    found = _estimate(resampling, statistic, Undefined.TOO_FEW)
    if found.low is not None:
        return found
    low, high = _wilson(share, resampling.n, resampling.level)
    return Estimate(share, low, high, "Wilson, clusters counted as one subject each")


def _wilson(share: float, n: float, level: float) -> tuple[float, float]:
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = share + z * z / (2 * n)
    margin = z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    scale = 1 + z * z / n
    return max((centre - margin) / scale, 0.0), min((centre + margin) / scale, 1.0)


def _kappa_of(
    resampling: _Resampling, disagreement: _Floats, when_undefined: Undefined = Undefined.ONE_GRADE
) -> Estimate:
    return _estimate(resampling, lambda sums: _kappa(_tables(sums), disagreement), when_undefined)


def _kappa(tables: _Floats, disagreement: _Floats) -> _Floats:
    observed = (tables * disagreement).sum(axis=(-2, -1))
    by_chance = np.einsum("...i,ij,...j->...", tables.sum(axis=-1), disagreement, tables.sum(axis=-2))
    result: _Floats = 1 - _divided(observed * tables.sum(axis=(-2, -1)), by_chance)
    return result


def _mean_difference(sums: _Floats) -> _Floats:
    differences = np.subtract.outer(np.arange(GRADES), np.arange(GRADES)).T.reshape(-1).astype(float)
    return _divided(sums @ differences, sums.sum(axis=-1))


def _tau_b(tables: _Floats) -> _Floats:
    """Kendall 1945, Biometrika 33:239: ties of either reader in the denominator."""
    n = tables.sum(axis=(-2, -1))
    concordant = (tables * _beyond(tables)).sum(axis=(-2, -1))
    discordant = (tables * _beyond(tables[..., ::-1])[..., ::-1]).sum(axis=(-2, -1))
    pairs = n * (n - 1) / 2
    ties = [(sums * (sums - 1) / 2).sum(axis=-1) for sums in (tables.sum(axis=-1), tables.sum(axis=-2))]
    return _divided(concordant - discordant, np.sqrt((pairs - ties[0]) * (pairs - ties[1])))


def _beyond(tables: _Floats) -> _Floats:
    """Of each cell the sum of all in higher rows and in higher columns."""
    sums = np.zeros_like(tables)
    from_here = tables[..., ::-1, ::-1].cumsum(axis=-2).cumsum(axis=-1)[..., ::-1, ::-1]
    sums[..., :-1, :-1] = from_here[..., 1:, 1:]
    return sums


def _fleiss(sums: _Floats) -> _Floats:
    """Kappa from the sums of the counts, of the agreement of each subject, and of the subjects."""
    counts, agreeing, subjects = sums[..., :-2], sums[..., -2], sums[..., -1]
    observed = _divided(agreeing, subjects)
    by_chance = (_divided(counts, counts.sum(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
    return _divided(observed - by_chance, 1 - by_chance)


def _alpha(sums: _Floats, *, level: Level) -> _Floats:
    size = round(sums.shape[-1] ** 0.5)
    coincidences = sums.reshape(*sums.shape[:-1], size, size)
    marginals = coincidences.sum(axis=-1)
    n = marginals.sum(axis=-1)
    distances = _distances(marginals, level)
    observed = (coincidences * distances).sum(axis=(-2, -1))
    by_chance = (marginals[..., :, None] * marginals[..., None, :] * distances).sum(axis=(-2, -1))
    result: _Floats = 1 - _divided(observed * (n - 1), by_chance)
    return result


def _distances(marginals: _Floats, level: Level) -> _Floats:
    """Squared difference of each two grades (Krippendorff 2011, section D)."""
    size = marginals.shape[-1]
    if level is Level.NOMINAL:
        return 1 - np.eye(size)
    if level is Level.INTERVAL:
        return np.subtract.outer(np.arange(size), np.arange(size)).astype(float) ** 2
    middle = marginals.cumsum(axis=-1) - marginals / 2
    ordinal: _Floats = (middle[..., :, None] - middle[..., None, :]) ** 2
    return ordinal


def _ratio(sums: _Floats) -> _Floats:
    return _divided(sums[..., 0], sums[..., 1])


def _divided(numerator: _Floats, denominator: _Floats) -> _Floats:
    """NaN where the denominator is 0 (but for rounding)."""
    is_defined = denominator > 1e-12
    result: _Floats = np.where(is_defined, numerator / np.where(is_defined, denominator, 1), np.nan)
    return result


def _tables(sums: _Floats) -> _Floats:
    return sums.reshape(*sums.shape[:-1], GRADES, GRADES)


def _is_same_side() -> NDArray[np.bool_]:
    accepted = np.arange(1, GRADES + 1) >= ACCEPTABLE
    same: NDArray[np.bool_] = np.equal.outer(accepted, accepted)
    return same


def _finite(value: _Floats) -> float | None:
    return float(value) if np.isfinite(value) else None


def _grades(grades: Sequence[int]) -> NDArray[np.int64]:
    array = np.asarray(grades, np.int64).reshape(-1)
    if np.any((array < 1) | (array > GRADES)):
        raise ValueError(f"grades are whole numbers from 1 to {GRADES}")
    return array


def _counts(counts: Sequence[Sequence[int]]) -> _Floats:
    table = np.asarray(counts, float)
    return table.reshape(len(counts), -1) if table.size else np.zeros((0, GRADES))


def _twice_ranks(sizes: _Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Mean ranks, times two to be whole, and how many share each."""
    _, place, times = np.unique(sizes, return_inverse=True, return_counts=True)
    last = times.cumsum()
    return (2 * last - times + 1)[place], times


def _signed_rank_normal(positive: float, n: int, ties: NDArray[np.int64]) -> float:
    variance = n * (n + 1) * (2 * n + 1) / 24 - float((ties**3 - ties).sum()) / 48
    z = (positive - n * (n + 1) / 4) / variance**0.5
    return float(2 * NormalDist().cdf(-abs(z)))


def _signed_rank_exact(twice_ranks: NDArray[np.int64], positive: int) -> float:
    """Probability of a sum as far from the middle, every sign of every rank being as likely as the other."""
    total = int(twice_ranks.sum())
    chances = np.zeros(total + 1)
    chances[0] = 1.0
    for rank in twice_ranks:
        shifted = np.zeros_like(chances)
        shifted[rank:] = chances[: total + 1 - rank]
        chances = (chances + shifted) / 2
    tail = min(positive, total - positive)
    return min(2 * float(chances[: tail + 1].sum()), 1.0)
