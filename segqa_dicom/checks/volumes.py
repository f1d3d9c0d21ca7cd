"""V: volumes against those of healthy adults.

A complaint says that someone should look: a large spleen is large in a good segmentation, too. What the image cuts off
has no volume to speak of, children have other ones, and each structure gets the complaint of one rule only.
"""

from __future__ import annotations

from segqa_dicom.anatomy import Range, volume_ratios
from segqa_dicom.checks.finding import Severity
from segqa_dicom.checks.gates import cut_off, is_child, sex_of
from segqa_dicom.checks.registry import Scope, SegmentResult, Unit, not_run, passed, rule, warned
from segqa_dicom.checks.ruleset import Limits
from segqa_dicom.checks.subject import MeasuredSegment, MeasuredSegmentation

_GATE = "complete structures of adults (or of people whose age the CT does not say)"
_WHOM = {"F": " of women", "M": " of men", None: ""}


def _not_comparable(part: MeasuredSegment) -> str:
    if is_child(part.ct):
        return "the patient is a child, and the reference volumes are those of adults"
    return cut_off(part)


def _volume(part: MeasuredSegment) -> float:
    return part.measures.shape.volume_ml


def _holes_ml(part: MeasuredSegment) -> float:
    cavities = part.measures.cavities
    return cavities.voxel_count * part.ct.geometry.voxel_volume_ml if cavities else 0.0


def _known_limits(part: MeasuredSegment) -> Range | None:
    """Limits of about 95 % of people, of the study with the widest ones; None if no study gives any.

    Of studies that give quartiles: one interquartile range beyond them, which is mean - 2 SD and mean + 2 SD.
    """
    sex = sex_of(part.ct)
    known = part.known.volume_range_ml(sex)
    if known is None or known.low is None or known.high is None:
        return None
    low, high = known.low, known.high
    for one in part.known.volumes:
        if one.kind == "quartiles" and not one.definition and (not sex or one.sex in (sex, "")):
            spread = (one.high_ml or 0.0) - (one.low_ml or 0.0)
            low, high = min(low, max((one.low_ml or 0.0) - spread, 0.0)), max(high, (one.high_ml or 0.0) + spread)
    return Range(low, high, known.source, known.provisional)


def _interval(part: MeasuredSegment, margin: float) -> Range | None:
    """Limits of about 95 % of people, wider by a share of them; None if no study gives any."""
    known = _known_limits(part)
    if known is None or known.low is None or known.high is None:
        return None
    return Range(known.low * (1 - margin), known.high * (1 + margin), known.source, known.provisional)


@rule(
    "V1",
    "Far too small",
    scope=Scope.SEGMENT,
    severity=Severity.WARNING,
    unit=Unit.ML,
    source="proposal; CADS drops structures below 10 % of the median; volumes: docs/reference/structures.md",
    gate=_GATE,
)
def minimum(part: MeasuredSegment, _context: MeasuredSegmentation, limits: Limits) -> SegmentResult:
    """A small share of the usual volume is a fragment of the structure."""
    typical = part.known.typical_volume_ml(sex_of(part.ct))
    if part.is_empty or typical is None:
        return None
    if reason := _not_comparable(part):
        return not_run(reason)
    limit = limits["min_fraction"] * typical
    if _volume(part) >= limit:
        return passed(value=_volume(part), limit=limit)
    message = (
        f"{_volume(part):.2g} mL: less than {limits['min_fraction']:.0%} of the usual volume"
        f"{_WHOM[sex_of(part.ct)]} ({typical:.0f} mL)"
    )
    return warned(message, value=_volume(part), limit=limit, location_mm=part.anchor_mm)


@rule(
    "V2",
    "Outside the reference volumes",
    scope=Scope.SEGMENT,
    severity=Severity.WARNING,
    unit=Unit.ML,
    source="limits that 95 % of people lie between, by sex: Kim 2021, Jasper 2022, Krishnaswamy 2024 and others",
    gate=f"{_GATE}; not what V1 complains about",
)
def interval(part: MeasuredSegment, _context: MeasuredSegmentation, limits: Limits) -> SegmentResult:
    """Volumes beyond the published limits, and beyond a margin on top of them."""
    allowed = _interval(part, limits["margin"])
    if part.is_empty or allowed is None or allowed.low is None or allowed.high is None:
        return None
    if reason := _not_comparable(part):
        return not_run(reason)
    volume = _volume(part)
    typical = part.known.typical_volume_ml(sex_of(part.ct))
    if typical is not None and volume < limits["min_fraction"] * typical:
        return not_run("it is a fragment (rule V1)")
    limit = allowed.low if volume < allowed.low else allowed.high
    if volume in allowed:
        return passed(value=volume, limit=limit)
    if volume < allowed.low <= volume + _holes_ml(part):
        return not_run("it is small because of its holes (rule T3)")
    how = "small" if volume < allowed.low else "large"
    low, high = (end / (1 + sign * limits["margin"]) for end, sign in ((allowed.low, -1), (allowed.high, 1)))
    message = (
        f"{_number(volume)} mL: unusually {how}; about 95 %{_WHOM[sex_of(part.ct)] or ' of people'} have "
        f"{_number(low)} to {_number(high)} mL, and the limit is {limits['margin']:.0%} beyond ({_number(limit)} mL)"
    )
    return warned(message, value=volume, limit=limit, location_mm=part.anchor_mm)


def _number(volume: float) -> str:
    """Millilitres, with decimals where they count."""
    return f"{volume:.0f}" if volume >= 20 else f"{volume:.2f}"


@rule(
    "V3",
    "Ratio of two volumes",
    scope=Scope.SEGMENT,
    severity=Severity.WARNING,
    unit=Unit.RATIO,
    source="Kim 2021 (Radiology): liver over spleen, central 95 %",
    gate=f"{_GATE}, both of the two; not what V1 or V2 complain about",
)
def ratio(part: MeasuredSegment, context: MeasuredSegmentation, limits: Limits) -> SegmentResult:
    """One of two organs whose volumes go together is too large or too small for the other; left and right: L2."""
    for known in volume_ratios():
        others = context.by_name.get(known.to, [])
        if part.is_empty or part.known.canonical != known.of or len(others) != 1:
            continue
        other = others[0]
        if reason := _not_comparable(part) or _not_comparable(other):
            return not_run(reason)
        if any((allowed := _interval(one, limits["margin"])) and _volume(one) not in allowed for one in (part, other)):
            return not_run("one of the two is itself outside the reference volumes (rule V2)")
        return _ratio_of(part, other, known.limits, limits["margin"])
    return None


def _ratio_of(part: MeasuredSegment, other: MeasuredSegment, known: Range, margin: float) -> SegmentResult:
    value = _volume(part) / _volume(other)
    low, high = (known.low or 0.0) * (1 - margin), (known.high or float("inf")) * (1 + margin)
    limit = low if value < low else high
    if low <= value <= high:
        return passed(value=value, limit=limit)
    message = (
        f"{_number(_volume(part))} mL, {other.label} {_number(_volume(other))} mL: {value:.1f} times as much; about "
        f"95 % of people have {known.low:.1f} to {known.high:.1f} times, and the limit is {margin:.0%} beyond"
    )
    return warned(message, value=value, limit=limit, location_mm=part.anchor_mm)
