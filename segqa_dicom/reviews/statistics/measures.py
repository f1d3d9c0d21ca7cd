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

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.reviews.statistics.estimates import (
    Bootstrap,
    Estimate,
    Floats,
    Resampling,
    Undefined,
    bootstrap_estimate,
    cell_share,
    divided,
    resample,
)

GRADES = 5
ACCEPTABLE = 4
"""From this grade on a segment is used as it is: 4 = stylistic edits only (AIMI scale)."""

_MOST_EXACT = 200
"""Differences up to which Wilcoxon's distribution is counted out."""


class Level(StrEnum):
    """What grades are for Krippendorff's alpha."""

    NOMINAL = "nominal"
    ORDINAL = "ordinal"
    INTERVAL = "interval"


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
    resampling = resample(cells, cluster, bootstrap)
    steps = np.abs(np.subtract.outer(np.arange(GRADES), np.arange(GRADES))).astype(float)
    kappa = partial(_kappa_of, resampling)
    has_subjects = one.size > 0
    return PairAgreement(
        n_subjects=one.size,
        n_clusters=resampling.n,
        table=tuple(tuple(int(cell) for cell in row) for row in cells.sum(axis=0).reshape(GRADES, GRADES)),
        exact=cell_share(resampling, steps == 0),
        within_one=cell_share(resampling, steps <= 1),
        acceptable=cell_share(resampling, _is_same_side()),
        kappa=kappa((steps > 0).astype(float)),
        kappa_linear=kappa(steps),
        kappa_quadratic=kappa(steps**2),
        kappa_acceptable=kappa((~_is_same_side()).astype(float), Undefined.ONE_SIDE),
        tau_b=bootstrap_estimate(resampling, lambda sums: _tau_b(_tables(sums)), Undefined.CONSTANT_READER),
        mean_first=float(one.mean()) if has_subjects else None,
        mean_second=float(two.mean()) if has_subjects else None,
        bias=bootstrap_estimate(resampling, _mean_difference, Undefined.TOO_FEW),
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
    return _kappa_of(resample(cells, cluster, bootstrap), np.asarray(disagreement, float))


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
    return bootstrap_estimate(resample(features, cluster, bootstrap), _fleiss, Undefined.ONE_GRADE)


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
    return bootstrap_estimate(
        resample(features, clusters, bootstrap), partial(_alpha, level=level), Undefined.ONE_GRADE
    )


def mean_with_interval(
    values: Sequence[float] | NDArray[Any], *, bootstrap: Bootstrap, cluster: Sequence[object] | None = None
) -> Estimate:
    """Mean over subjects."""
    column = np.asarray(values, float).reshape(-1, 1)
    features = np.hstack([column, np.ones_like(column)])
    return bootstrap_estimate(resample(features, cluster, bootstrap), _ratio, Undefined.TOO_FEW)


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


def _kappa_of(
    resampling: Resampling, disagreement: Floats, when_undefined: Undefined = Undefined.ONE_GRADE
) -> Estimate:
    return bootstrap_estimate(resampling, lambda sums: _kappa(_tables(sums), disagreement), when_undefined)


def _kappa(tables: Floats, disagreement: Floats) -> Floats:
    observed = (tables * disagreement).sum(axis=(-2, -1))
    by_chance = np.einsum("...i,ij,...j->...", tables.sum(axis=-1), disagreement, tables.sum(axis=-2))
    result: Floats = 1 - divided(observed * tables.sum(axis=(-2, -1)), by_chance)
    return result


def _mean_difference(sums: Floats) -> Floats:
    differences = np.subtract.outer(np.arange(GRADES), np.arange(GRADES)).T.reshape(-1).astype(float)
    return divided(sums @ differences, sums.sum(axis=-1))


def _tau_b(tables: Floats) -> Floats:
    """Kendall 1945, Biometrika 33:239: ties of either reader in the denominator."""
    n = tables.sum(axis=(-2, -1))
    concordant = (tables * _beyond(tables)).sum(axis=(-2, -1))
    discordant = (tables * _beyond(tables[..., ::-1])[..., ::-1]).sum(axis=(-2, -1))
    pairs = n * (n - 1) / 2
    ties = [(sums * (sums - 1) / 2).sum(axis=-1) for sums in (tables.sum(axis=-1), tables.sum(axis=-2))]
    return divided(concordant - discordant, np.sqrt((pairs - ties[0]) * (pairs - ties[1])))


def _beyond(tables: Floats) -> Floats:
    """Of each cell the sum of all in higher rows and in higher columns."""
    sums = np.zeros_like(tables)
    from_here = tables[..., ::-1, ::-1].cumsum(axis=-2).cumsum(axis=-1)[..., ::-1, ::-1]
    sums[..., :-1, :-1] = from_here[..., 1:, 1:]
    return sums


def _fleiss(sums: Floats) -> Floats:
    """Kappa from the sums of the counts, of the agreement of each subject, and of the subjects."""
    counts, agreeing, subjects = sums[..., :-2], sums[..., -2], sums[..., -1]
    observed = divided(agreeing, subjects)
    by_chance = (divided(counts, counts.sum(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
    return divided(observed - by_chance, 1 - by_chance)


def _alpha(sums: Floats, *, level: Level) -> Floats:
    size = round(sums.shape[-1] ** 0.5)
    coincidences = sums.reshape(*sums.shape[:-1], size, size)
    marginals = coincidences.sum(axis=-1)
    n = marginals.sum(axis=-1)
    distances = _distances(marginals, level)
    observed = (coincidences * distances).sum(axis=(-2, -1))
    by_chance = (marginals[..., :, None] * marginals[..., None, :] * distances).sum(axis=(-2, -1))
    result: Floats = 1 - divided(observed * (n - 1), by_chance)
    return result


def _distances(marginals: Floats, level: Level) -> Floats:
    """Squared difference of each two grades (Krippendorff 2011, section D)."""
    size = marginals.shape[-1]
    if level is Level.NOMINAL:
        return 1 - np.eye(size)
    if level is Level.INTERVAL:
        return np.subtract.outer(np.arange(size), np.arange(size)).astype(float) ** 2
    middle = marginals.cumsum(axis=-1) - marginals / 2
    ordinal: Floats = (middle[..., :, None] - middle[..., None, :]) ** 2
    return ordinal


def _ratio(sums: Floats) -> Floats:
    return divided(sums[..., 0], sums[..., 1])


def _tables(sums: Floats) -> Floats:
    return sums.reshape(*sums.shape[:-1], GRADES, GRADES)


def _is_same_side() -> NDArray[np.bool_]:
    accepted = np.arange(1, GRADES + 1) >= ACCEPTABLE
    same: NDArray[np.bool_] = np.equal.outer(accepted, accepted)
    return same


def _grades(grades: Sequence[int]) -> NDArray[np.int64]:
    array = np.asarray(grades, np.int64).reshape(-1)
    if np.any((array < 1) | (array > GRADES)):
        raise ValueError(f"grades are whole numbers from 1 to {GRADES}")
    return array


def _counts(counts: Sequence[Sequence[int]]) -> Floats:
    table = np.asarray(counts, float)
    return table.reshape(len(counts), -1) if table.size else np.zeros((0, GRADES))


def _twice_ranks(sizes: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
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
