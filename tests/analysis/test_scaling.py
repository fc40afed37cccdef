"""Laws of scaling fits: known exponents are recovered, and nothing is claimed beyond the runs."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from scipy.optimize import curve_fit

from greenai.analysis.power_law import SIZES_MIN, fit
from greenai.analysis.scaling import SizedRun, scaling
from greenai.errors import ComparisonError

TRUE = (1.8, 1.5, 0.3)


def losses(x: np.ndarray, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    irreducible, scale, exponent = TRUE
    exact = irreducible + scale * (x / x[0]) ** -exponent
    return np.asarray(exact + noise * np.random.default_rng(seed).standard_normal(len(x)))


def sized(count: int = 6, **changes: float) -> list[SizedRun]:
    x = np.geomspace(1e4, 1e7, count)
    return [
        SizedRun(
            f"run-{n}",
            "dense",
            loss,
            **{
                "energy_j": amount,
                "tokens": 10 * amount,
                "active_parameters": amount / 10,
                "coverage": 1.0,
                "measured": 1.0,
                **changes,
            },
        )
        for n, (amount, loss) in enumerate(zip(x.tolist(), losses(x).tolist(), strict=True))
    ]


def test_exact_points_give_their_law_back() -> None:
    x = np.geomspace(1e4, 1e7, 6)
    law = fit(x, losses(x))
    assert law.irreducible == pytest.approx(TRUE[0], rel=1e-3)
    assert law.exponent == pytest.approx(TRUE[2], rel=1e-3)
    assert law.loss_at(x) == pytest.approx(losses(x), rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_the_fit_is_the_least_squares_fit_of_scipy(seed: int) -> None:
    x = np.geomspace(1e4, 1e7, 8)
    loss = losses(x, noise=0.02, seed=seed)
    law = fit(x, loss, draws=10)

    def curve(log_x: np.ndarray, *values: float) -> np.ndarray:
        return np.asarray(values[0] + values[1] * np.exp(-values[2] * log_x))

    log_x = np.log(x / law.reference)
    start = (law.irreducible * 0.9, law.scale * 1.1, law.exponent * 1.2)
    best, _ = curve_fit(curve, log_x, loss, p0=start)
    ours = ((law.loss_at(x) - loss) ** 2).sum()
    theirs = ((curve(log_x, *best) - loss) ** 2).sum()
    assert ours == pytest.approx(theirs, rel=1e-4)
    assert law.exponent == pytest.approx(best[2], rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "repeats", "noise", "least"),
    [(4, 1, 0.01, 0.88), (5, 1, 0.01, 0.92), (8, 1, 0.02, 0.92), (6, 2, 0.02, 0.92)],
)
def test_the_interval_holds_the_true_exponent_as_often_as_it_says(
    sizes: int, repeats: int, noise: float, least: float
) -> None:
    x = np.repeat(np.geomspace(1.0, 300.0, sizes), repeats)
    held = held_cost = 0
    experiments = 400
    for number in range(experiments):
        law = fit(x, losses(x, noise, seed=number), draws=300, seed=number)
        low, high = law.exponent_interval
        held += low <= TRUE[2] <= high
        target = float(losses(np.array([1.0, 100.0]))[1])
        reached = law.cost_of(target).interval if target > law.irreducible else (0.0, math.inf)
        held_cost += reached[0] <= 100.0 <= reached[1]
    assert least <= held / experiments <= 0.985
    assert least <= held_cost / experiments <= 0.99


def test_noise_widens_the_interval_and_the_same_runs_give_the_same_one() -> None:
    x = np.geomspace(1.0, 1000.0, 8)
    quiet, loud = (fit(x, losses(x, noise, seed=3)) for noise in (0.001, 0.03))
    assert loud.exponent_interval.high - loud.exponent_interval.low > 5 * (
        quiet.exponent_interval.high - quiet.exponent_interval.low
    )
    assert fit(x, losses(x, 0.03, seed=3)).exponent_interval == loud.exponent_interval


def test_repeats_of_a_size_are_not_sizes() -> None:
    x = np.repeat([1.0, 2.0, 4.0], 5) * np.linspace(0.99, 1.01, 15)
    with pytest.raises(ComparisonError, match="3 sizes in 15 runs"):
        fit(x, losses(x))


@pytest.mark.parametrize("count", range(SIZES_MIN))
def test_fewer_than_four_sizes_are_refused_with_what_is_missing(count: int) -> None:
    with pytest.raises(ComparisonError) as caught:
        scaling(sized(count) if count else [])
    assert "at least 4 sizes" in caught.value.hint


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 0.0, -1.0])
def test_a_value_that_no_power_law_has_is_refused(wrong: float) -> None:
    x = np.geomspace(1.0, 100.0, 5)
    broken = x.copy()
    broken[2] = wrong
    with pytest.raises(ComparisonError):
        fit(broken, losses(x))
    with pytest.raises(ComparisonError):
        fit(x, np.where(x == x[2], wrong, losses(x)))


def test_a_loss_that_rises_with_size_has_no_law() -> None:
    x = np.geomspace(1.0, 100.0, 6)
    with pytest.raises(ComparisonError, match="does not fall"):
        fit(x, losses(x)[::-1])


def test_a_loss_at_or_below_the_irreducible_term_is_refused() -> None:
    found = scaling(sized())
    for loss in (1.0, found.laws["energy_j"].irreducible):
        with pytest.raises(ComparisonError, match="irreducible term"):
            found.energy_to(loss)
    with pytest.raises(ComparisonError, match="no positive number"):
        found.energy_to(math.nan)


def test_an_answer_says_whether_it_lies_outside_the_runs() -> None:
    found = scaling(sized())
    assert found.energy_to(2.3).beyond == 1
    assert found.energy_to(1.9).beyond > 1
    assert found.energy_to(4.0).beyond < 1
    answer = found.to_json(1.9)["answer"]
    assert answer["extrapolated"]
    assert answer["low_kwh"] <= answer["energy_kwh"] <= answer["high_kwh"]


def test_an_end_that_may_be_below_the_irreducible_term_is_open() -> None:
    x = np.geomspace(1.0, 50.0, 5)
    law = fit(x, losses(x, noise=0.05, seed=1))
    assert law.irreducible_interval.high > law.irreducible
    near = (law.irreducible + law.irreducible_interval.high) / 2
    assert law.cost_of(near).interval.high == math.inf


def test_a_quantity_that_is_not_known_is_left_out_and_said() -> None:
    found = scaling(sized(tokens=math.nan))
    assert sorted(found.laws) == ["active_parameters", "energy_j"]
    assert "Tokens unknown of run-0" in found.refused["tokens"]


def test_without_energy_the_other_laws_stand_and_a_cost_is_refused() -> None:
    found = scaling(sized(energy_j=math.nan))
    assert "tokens" in found.laws
    with pytest.raises(ComparisonError, match="energy"):
        found.energy_to(2.3)


def test_a_run_with_gaps_does_not_make_a_loss_cheap() -> None:
    runs = sized(7)
    runs[3] = dataclasses.replace(runs[3], coverage=0.5)
    found = scaling(runs)
    assert found.laws["energy_j"].n == 6
    assert found.laws["tokens"].n == 7
    assert found.notes == ("Energy unknown or known in part of run-3: left out.",)


def test_unlike_devices_are_refused_unless_allowed() -> None:
    runs = [
        dataclasses.replace(run, devices=("H100" if number % 2 else "A100",))
        for number, run in enumerate(sized())
    ]
    with pytest.raises(ComparisonError, match="unlike devices"):
        scaling(runs)
    assert any("Unlike" in note for note in scaling(runs, across_devices=True).notes)


def test_a_run_given_twice_is_refused() -> None:
    with pytest.raises(ComparisonError, match="twice"):
        scaling([*sized(), sized()[0]])


def test_a_run_without_a_loss_is_left_out_and_named() -> None:
    runs = [*sized(), SizedRun("broken", "dense", math.nan, energy_j=5.0)]
    found = scaling(runs)
    assert found.runs == 6
    assert any("broken" in note for note in found.notes)


def test_modelled_energy_is_said_to_be_time() -> None:
    assert any("model of time" in note for note in scaling(sized(measured=0.0)).notes)


def test_the_json_is_strict_and_unknown_is_null() -> None:
    x = np.geomspace(1.0, 50.0, 5)
    runs = [
        SizedRun(f"r{n}", "dense", loss, energy_j=amount)
        for n, (amount, loss) in enumerate(zip(x, losses(x, 0.05, seed=1), strict=True))
    ]
    found = scaling(runs)
    law = found.laws["energy_j"]
    near = (law.irreducible + law.irreducible_interval.high) / 2
    plain = json.loads(json.dumps(found.to_json(near), allow_nan=False))
    assert plain["answer"]["high_kwh"] is None
