from __future__ import annotations

import numpy as np
import pytest

from holdfast.stats.power import flip_rate_variance, regression_power, units_needed

Z = 1.959963984540054
REPEATS = 40_000
THREE_SE = 3 * np.sqrt(0.25 / REPEATS)


def shares(difference: np.ndarray, standard_error: np.ndarray | float, margin: float) -> tuple[float, float]:
    """Shares of PASS and of FAIL among simulated differences."""
    passed = difference - Z * np.asarray(standard_error) >= -margin
    failed = difference + Z * np.asarray(standard_error) < -margin
    return float(passed.mean()), float(failed.mean())


@pytest.mark.parametrize(("standard_error", "margin"), [(0.01, 0.02), (0.01, 0.035), (0.02, 0.02), (0.3, 0.1)])
def test_power_is_what_a_simulation_gives(standard_error: float, margin: float) -> None:
    power = regression_power(standard_error, margin)
    noise = np.random.default_rng(1).standard_normal(REPEATS) * standard_error
    assert shares(noise, standard_error, margin)[0] == pytest.approx(power.p_pass_if_equal, abs=THREE_SE)
    assert shares(noise - 2 * margin, standard_error, margin)[1] == pytest.approx(
        power.p_fail_if_twice_margin, abs=THREE_SE
    )
    assert shares(noise - power.detectable, standard_error, margin)[1] == pytest.approx(0.8, abs=THREE_SE)


def test_on_the_margin_both_errors_are_a_fortieth() -> None:
    noise = np.random.default_rng(2).standard_normal(REPEATS)
    assert max(shares(noise - 2.0, 1.0, 2.0)) <= 0.025 + 3 * np.sqrt(0.025 / REPEATS)


def test_margin_nought_passes_an_equal_candidate_in_a_fortieth() -> None:
    assert regression_power(0.01, 0.0).p_pass_if_equal == pytest.approx(0.025)


def test_another_confidence_asks_for_more() -> None:
    assert regression_power(0.01, 0.03, 0.99).p_pass_if_equal < regression_power(0.01, 0.03, 0.9).p_pass_if_equal


@pytest.mark.parametrize(("pfr", "nfr"), [(0.03, 0.03), (0.01, 0.05), (0.2, 0.1)])
def test_flip_rates_give_the_variance_and_the_power_of_an_accuracy_gate(pfr: float, nfr: float) -> None:
    n, margin = 3000, 0.02
    flips = np.random.default_rng(3).multinomial(n, [pfr, nfr, 1 - pfr - nfr], size=REPEATS)
    difference = (flips[:, 0] - flips[:, 1]) / n
    assert difference.var() == pytest.approx(flip_rate_variance(pfr, nfr, n), rel=0.03)
    if pfr == nfr:
        observed = np.array([flip_rate_variance(a / n, b / n, n) for a, b, _ in flips[:5000]])
        predicted = regression_power(np.sqrt(flip_rate_variance(pfr, nfr, n)), margin).p_pass_if_equal
        assert shares(difference[:5000], np.sqrt(observed), margin)[0] == pytest.approx(predicted, abs=0.02)


@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_the_units_needed_reach_the_power_and_one_less_does_not(power: float) -> None:
    n = units_needed(0.26, 0.02, power)
    assert n is not None
    assert regression_power(0.26 / np.sqrt(n), 0.02).p_pass_if_equal >= power
    assert regression_power(0.26 / np.sqrt(n - 1), 0.02).p_pass_if_equal < power


def test_no_number_of_units_shows_a_margin_of_nought() -> None:
    assert units_needed(0.26, 0.0) is None


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_no_observed_variance_is_not_no_variance(wrong: float) -> None:
    with pytest.raises(ValueError, match="positive standard error"):
        regression_power(wrong, 0.02)


@pytest.mark.parametrize(
    "call",
    [
        lambda: regression_power(0.1, -0.1),
        lambda: regression_power(0.1, 0.1, 1.0),
        lambda: flip_rate_variance(0.7, 0.7, 10),
        lambda: flip_rate_variance(0.1, 0.1, 0),
        lambda: units_needed(float("nan"), 0.1),
        lambda: units_needed(0.1, 0.1, power=1.0),
    ],
)
def test_wrong_numbers_are_errors(call: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        call()  # type: ignore[operator]
