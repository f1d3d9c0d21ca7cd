"""Estimates with intervals: bootstrap over subjects (BCa), Wilson interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

_MOST_UNDEFINED = 0.05
"""Share of resamples in which a measure may be undefined; beyond it the rest does not stand for all."""

_CHUNK = 4_000_000
"""Numbers of subjects drawn at a time: 32 MB."""

Floats = NDArray[np.float64]

_Statistic = Callable[[Floats], Floats]
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


def proportion(values: Sequence[bool], *, bootstrap: Bootstrap, cluster: Sequence[object] | None = None) -> Estimate:
    """Share of subjects for which something holds: Wilson if all are independent, else BCa over clusters."""
    is_true = np.asarray(values, bool).reshape(-1, 1)
    features = np.hstack([is_true, ~is_true]).astype(float)
    return cell_share(resample(features, cluster, bootstrap), np.array([True, False]))


def wilson(successes: int, n: int, *, level: float = 0.95) -> Estimate:
    """A proportion with Wilson's score interval (J Am Stat Assoc 1927, 22:209); undefined for n = 0."""
    if n == 0:
        return Estimate(None, reason=Undefined.NONE)
    share = successes / n
    low, high = _wilson(share, n, level)
    return Estimate(share, low, high, "Wilson")


@dataclass(frozen=True, eq=False, slots=True)
class Resampling:
    """Sums over all clusters, over each resample of them, and over all but one.

    n : number of clusters; is_clustered : some hold several subjects
    total : (d,)
    samples : (resamples, d)
    without_one, times : (m, d) and (m,), how many clusters give the same sums when left out
    """

    n: int
    is_clustered: bool
    total: Floats
    samples: Floats
    without_one: Floats
    times: NDArray[np.int64]
    level: float


def resample(features: Floats, cluster: Sequence[object] | None, bootstrap: Bootstrap) -> Resampling:
    """Bootstrap samples of subjects, or of clusters of them; features = (subject, feature)."""
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
    return Resampling(n, n < subjects, total, samples, total - patterns, times, bootstrap.level)


def bootstrap_estimate(resampling: Resampling, statistic: _Statistic, when_undefined: Undefined) -> Estimate:
    """A statistic with its BCa interval; `when_undefined` = reason if it has no value."""
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
    value: float, samples: Floats, without_one: Floats, times: NDArray[np.int64], tails: tuple[float, float]
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


def cell_share(resampling: Resampling, cells: NDArray[np.bool_]) -> Estimate:
    """The share of subjects in some cells of the table."""
    if resampling.n < 2:
        return Estimate(None, reason=Undefined.TOO_FEW)
    chosen = cells.reshape(-1).astype(float)
    n = float(resampling.total.sum())
    share = float(resampling.total @ chosen) / n
    if not resampling.is_clustered:
        low, high = _wilson(share, n, resampling.level)
        return Estimate(share, low, high, "Wilson")

    def statistic(sums: Floats) -> Floats:
        return divided(sums @ chosen, sums.sum(axis=-1))

    found = bootstrap_estimate(resampling, statistic, Undefined.TOO_FEW)
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


def divided(numerator: Floats, denominator: Floats) -> Floats:
    """NaN where the denominator is 0 (but for rounding)."""
    is_defined = denominator > 1e-12
    result: Floats = np.where(is_defined, numerator / np.where(is_defined, denominator, 1), np.nan)
    return result


def _finite(value: Floats) -> float | None:
    return float(value) if np.isfinite(value) else None
