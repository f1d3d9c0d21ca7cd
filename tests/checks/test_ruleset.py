from __future__ import annotations

import pytest

from segqa_dicom.checks import Outcome, default_ruleset, ruleset_with
from segqa_dicom.errors import ConfigurationError
from segqa_dicom.pipeline import review
from tests.scenes import LIVER, Part, box, case, segmentation


def test_an_override_changes_the_value_and_the_hash() -> None:
    changed = ruleset_with({"rules": {"T2": {"max_volume_ml": 5}}})
    assert changed.rules["T2"]["max_volume_ml"] == 5.0
    assert changed.rules["T1"] == default_ruleset().rules["T1"]
    assert changed.hash != default_ruleset().hash


def test_the_same_values_have_the_same_hash() -> None:
    assert ruleset_with({"rules": {"T2": {"max_volume_ml": 0.1}}}).hash == default_ruleset().hash


@pytest.mark.parametrize(
    ("overrides", "place"),
    [
        pytest.param({"rules": {"Z9": {}}}, "rule set.rules.Z9", id="unknown rule"),
        pytest.param({"rules": {"T2": {"max": 1}}}, "rule set.rules.T2.max", id="unknown parameter"),
        pytest.param(
            {"rules": {"T2": {"max_volume_ml": "1"}}}, "rule set.rules.T2.max_volume_ml", id="text for a number"
        ),
        pytest.param(
            {"rules": {"T2": {"max_volume_ml": True}}}, "rule set.rules.T2.max_volume_ml", id="truth for a number"
        ),
        pytest.param({"rules": 3}, "rule set.rules", id="not a table"),
        pytest.param({"colour": 1}, "rule set.colour", id="unknown section"),
    ],
)
def test_a_wrong_override_is_refused_by_name(overrides: dict, place: str) -> None:
    with pytest.raises(ConfigurationError, match=place.replace(".", r"\.")):
        ruleset_with(overrides)


def test_a_rule_can_be_switched_off() -> None:
    report = review(
        case(segmentation([Part("liver", LIVER, [box(0, 15, 15)])])),
        ruleset_with({"rules": {"F1": {"enabled": False}}}),
    )
    (segment,) = report.segmentations[0].segments
    assert "F1" not in [check.rule for check in segment.checks]
    assert segment.truncated


def test_a_looser_limit_lets_pass() -> None:
    found = case(segmentation([Part("liver", LIVER, [box(8, 15, 15), box(16, 28, 28, 5)])]))
    loose = ruleset_with({"rules": {"T1": {"pass_fraction": 0.5}}})
    checks = {check.rule: check for check in review(found, loose).segmentations[0].segments[0].checks}
    assert checks["T1"].outcome is Outcome.PASS
