"""Laws of the estimate before training: nothing silent, the unknown unknown, errors said."""

from __future__ import annotations

import dataclasses
import json
import math
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import greenai
from greenai import api, cli, embodied
from greenai.analysis.ranges import Range
from greenai.errors import GridError, OrderError
from greenai.planning import alternatives, validation
from greenai.planning import plan as planning
from greenai.planning.budget import best_plan
from greenai.planning.plan import calibration_of
from greenai.planning.tables import hardware, models, prior, published

LLAMA: dict[str, Any] = {"parameters": 6.74e9, "tokens": 2e12, "accelerator": "A100"}
ATTENTION: dict[str, Any] = {"layers": 32, "heads": 32, "head_width": 128, "sequence": 4096}
PATTERSON = ("T5", "Meena", "GShard-600B", "Switch-1.5T", "GPT-3")


def basis_of(made: Any, name: str) -> str:
    return next(one.basis for one in made.assumptions if one.name.startswith(name))


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return int(ended.value.code or 0)


def test_low_mid_and_high_are_the_product_of_their_factors() -> None:
    made = greenai.estimate(
        parameters=1e9,
        tokens=1e12,
        accelerator="A100",
        accelerators=100,
        mfu=(0.25, 0.4, 0.5),
        power_w=(300.0, 400.0, 500.0),
        pue=(1.1, 1.2, 1.5),
        intensity_g_per_kwh=(50.0, 100.0, 200.0),
        wue_l_per_kwh=2.0,
        ewif_l_per_kwh=3.0,
        price_per_kwh=0.1,
    )
    for one, mfu, power_w, pue, intensity in (
        (made.low, 0.5, 300, 1.1, 50),
        (made.mid, 0.4, 400, 1.2, 100),
        (made.high, 0.25, 500, 1.5, 200),
    ):
        hours = 6e21 / (312e12 * mfu) / 3600
        kwh = hours * power_w / 1000
        assert one.accelerator_hours == pytest.approx(hours)
        assert one.days == pytest.approx(hours / 100 / 24)
        assert one.energy_mwh == pytest.approx(kwh * pue / 1000)
        assert one.operational_tco2e == pytest.approx(kwh * pue * intensity / 1e6)
        assert one.water_m3 == pytest.approx((kwh * 2 + kwh * pue * 3) / 1000)
        assert one.cost == pytest.approx(kwh * pue * 0.1)


def test_what_nobody_gave_is_unknown_and_named() -> None:
    made = greenai.estimate(**LLAMA)
    for one in (made.low, made.mid, made.high):
        assert math.isnan(one.water_m3)
        assert math.isnan(one.cost)
        assert math.isnan(one.days)
    for name in ("PUE", "water at the site", "water at power", "price per kWh", "accelerators"):
        assert basis_of(made, name) == "unknown"
    assert json.loads(json.dumps(made.to_json(), allow_nan=False))["mid"]["cost"] is None


def test_only_the_world_average_is_taken_unasked_and_it_is_named() -> None:
    made = greenai.estimate(**LLAMA)
    assert basis_of(made, "carbon intensity") == "assumed"
    assert any("world average of 475 g/kWh" in note for note in made.notes)
    assert basis_of(greenai.estimate(**LLAMA, country="FRA"), "carbon intensity") == "tabled"


def test_embodied_of_an_accelerator_without_a_figure_is_unknown() -> None:
    assert math.isnan(greenai.estimate(**{**LLAMA, "accelerator": "H200"}).mid.embodied_tco2e)
    assert greenai.estimate(**LLAMA).mid.embodied_tco2e > 0


def test_an_estimate_and_a_run_read_the_same_table_of_hardware() -> None:
    for name in ("A100", "H100", "B200"):
        made = embodied.device_or_unknown(hardware(name).model)
        assert hardware(name).made_kg == made.made_kg != Range.unknown()
    low, mid, high = (
        one.embodied_tco2e * 1e6 / one.accelerator_hours
        for estimate in (greenai.estimate(accelerator_hours=1e3, accelerator="A100"),)
        for one in (estimate.low, estimate.mid, estimate.high)
    )
    assert low == pytest.approx(1000 * (127.6 + 2181 / 8) / (6 * 8766))
    assert mid == pytest.approx(1000 * (127.6 + 2500 / 8) / (5 * 8766 * 0.85))
    assert high == pytest.approx(1000 * (150 + 3880 / 8) / (3 * 8766 * 0.85))


def test_attention_is_in_the_flops_where_the_architecture_is_told() -> None:
    plain, told = greenai.estimate(**LLAMA), greenai.estimate(**LLAMA, **ATTENTION)
    assert told.mid.flops / plain.mid.flops == pytest.approx(1.080, abs=0.001)
    windowed = greenai.estimate(**LLAMA, **ATTENTION, window=512)
    assert plain.mid.flops < windowed.mid.flops < told.mid.flops
    assert any("lower bound" in note for note in plain.notes)


def test_only_active_parameters_take_flops() -> None:
    experts = {"experts": 8, "experts_per_token": 2, "expert_parameters": 5.6e9}
    plan = {"parameters": 46.7e9, "tokens": 1e12, "accelerator": "H100"}
    assert greenai.estimate(**plan, **experts).mid.flops == pytest.approx(6 * 13.1e9 * 1e12)
    sparse = greenai.estimate(**plan, active_parameters=13.1e9)
    assert sparse.mid.flops == pytest.approx(6 * 13.1e9 * 1e12)
    assert "moe" in next(one.source for one in sparse.assumptions if one.name == "MFU")


def test_hours_alone_give_energy_and_no_flops() -> None:
    made = greenai.estimate(accelerator_hours=1000.0, accelerator="A100", power_w=500.0)
    assert made.mid.energy_mwh == pytest.approx(0.5)
    assert math.isnan(made.mid.flops)


def test_hours_and_flops_tell_the_utilisation() -> None:
    made = greenai.estimate(**LLAMA, accelerator_hours=184320.0)
    mfu = next(one for one in made.assumptions if one.name == "MFU")
    assert (mfu.basis, round(mfu.mid, 2)) == ("calculated", 0.39)
    with pytest.raises(OrderError, match="times the peak"):
        greenai.estimate(**LLAMA, accelerator_hours=1000.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"parameters": None}, "tokens were given without parameters"),
        ({"tokens": None}, "parameters were given without tokens"),
        ({"parameters": None, "tokens": None}, "Neither parameters and tokens nor"),
        ({"accelerator": None}, "No accelerator was given"),
        ({"accelerator": None, "power_w": 400.0}, "without hours or a rate"),
        ({"pue": (math.nan, math.nan, math.nan)}, "PUE is NaN"),
        ({"pue": (1.1, 1.2, math.nan)}, "low <= mid <= high"),
        ({"accelerator": "H1000"}, "did you mean H100"),
        ({"pue": 0.9}, "PUE is 0.9"),
        ({"pue": math.nan}, "PUE is NaN"),
        ({"pue": -1.0}, "PUE is -1\\."),
        ({"pue": (0.9, 1.2, 1.3)}, "PUE is 0.9"),
        ({"tokens": -1.0}, "tokens is -1"),
        ({"parameters": -7e9}, "parameters is -7e\\+09"),
        ({"accelerators": 0}, "accelerators is 0"),
        ({"mfu": 1.2}, "utilisation of the accelerators is 1.2"),
        ({"mfu": 0.0}, "would never end"),
        ({"power_w": -5.0}, "power of one accelerator with its host, W is -5"),
        ({"power_w": (3.0, 2.0, 1.0)}, "low <= mid <= high"),
        ({"intensity_g_per_kwh": -1.0}, "carbon intensity, g/kWh is -1"),
        ({"price_per_kwh": -1.0}, "price per kWh is -1"),
        ({"price_per_kwh": 0.1, "price_per_hour": 2.0}, "paid twice"),
        ({"layers": 32}, "Not given: heads, head width, sequence"),
        ({"window": 512}, "window of 512 was given without the sequence"),
        ({"experts": 8}, "Not given: experts per token, expert parameters"),
        ({"active_parameters": 8e9}, "of 6.74e\\+09 parameters would work"),
        ({"country": "FRA", "intensity_g_per_kwh": 50.0}, "not clear which"),
        ({"accelerator_hours": -5.0}, "accelerator-hours is -5"),
        ({"parameters": None, "tokens": None, "layers": 3}, "layers was given without parameters"),
    ],
)
def test_bad_input_is_refused_with_what_it_means(change: dict[str, Any], said: str) -> None:
    with pytest.raises(OrderError, match=said) as raised:
        greenai.estimate(**{**LLAMA, **change})
    assert raised.value.meaning
    assert raised.value.hint


def test_an_unknown_place_names_the_nearest() -> None:
    with pytest.raises(GridError, match="did you mean FRA"):
        greenai.estimate(**LLAMA, country="Frnace")
    with pytest.raises(GridError, match="california"):
        greenai.estimate(**LLAMA, country="USA", region="Californa")


def a_run(measured: float = 1.0, **change: Any) -> Any:
    columns = {"energy_j": [math.nan, 8e5, 1.2e6], "flops": [2e17, 2e17, 2e17]}
    summary = {
        "energy_j": 4e6,
        "energy_low_j": 3.8e6,
        "energy_high_j": 4.4e6,
        "energy_boundary": "GPU only",
        "trust": {"measured": measured, "modelled": 1 - measured, "assumed": 0.0},
    }
    steps = pd.DataFrame({**columns, **change})
    return SimpleNamespace(run_id="dense-1", summary=lambda: summary, steps=lambda: steps)


def test_a_measured_run_takes_the_place_of_hours_times_power(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(api, "load", lambda _: a_run())
    made = greenai.estimate(parameters=1e9, tokens=1e12, calibrate="runs/dense")
    # 2 MJ of the steps whose energy is known, over their own 4e17 FLOPs alone
    assert made.mid.it_energy_mwh == pytest.approx(6e21 * 5e-12 / 3.6e9)
    assert made.low.it_energy_mwh == pytest.approx(made.mid.it_energy_mwh * 0.95)
    assert made.high.it_energy_mwh == pytest.approx(made.mid.it_energy_mwh * 1.10)
    assert basis_of(made, "J/FLOP") == "measured"
    assert math.isnan(made.mid.accelerator_hours)  # no accelerator was given: hours are unknown


def test_a_run_that_is_partly_modelled_is_not_called_measured() -> None:
    found = calibration_of(a_run(measured=0.6))
    assert found.basis == "assumed"
    assert "60% measured, 40% modelled" in found.source


@pytest.mark.parametrize("missing", ["flops", "energy_j"])
def test_a_run_without_flops_or_energy_calibrates_nothing(missing: str) -> None:
    with pytest.raises(OrderError, match="unknown"):
        calibration_of(a_run(**{missing: [math.nan] * 3}))


def test_every_accelerator_has_sourced_figures() -> None:
    for name in models():
        one = hardware(name)
        assert one.peak_flop_per_s > 1e13
        assert one.tdp_w > 0
        assert one.peak_source
        assert one.tdp_source
        assert one.made_source


def test_the_prior_is_that_of_the_published_runs() -> None:
    dense, sparse = prior("dense"), prior("moe")
    assert (round(dense.low, 2), round(dense.mid, 2), round(dense.high, 2)) == (0.22, 0.33, 0.51)
    assert (round(sparse.low, 2), round(sparse.high, 2)) == (0.23, 0.35)
    assert len(sparse.models) == 3


@pytest.mark.parametrize("model", PATTERSON)
def test_the_measured_runs_of_patterson_are_reproduced(model: str) -> None:
    checks, _, _ = validation.validation()
    mine = [one for one in checks if one.model == model]
    assert {one.what for one in mine} >= {"energy, MWh", "emissions, tCO2e"}
    for one in mine:
        decimals = len(one.printed.partition(".")[2])
        if one.what == "energy, MWh":
            assert abs(one.relative) <= 0.005
        else:
            equal = f"{one.recomputed:.{decimals}f}" == one.printed
            assert equal or abs(one.relative) <= 0.005
        assert "time is not predicted" in one.shows


def test_a_wrong_power_is_not_reproduced() -> None:
    run = next(one for one in published() if one.model == "T5")
    wrong = dataclasses.replace(run, power_w=run.power_w * 1.01)
    assert not validation.checks_of(wrong)[0].reproduced


def test_bloom_is_dynamic_plus_idle_plus_embodied() -> None:
    checks, _, _ = validation.validation()
    bloom = {one.what: one for one in checks if one.model == "BLOOM-176B"}
    assert bloom["emissions, tCO2e"].recomputed == pytest.approx(24.69, abs=0.005)
    assert bloom["idle, tCO2e"].recomputed == pytest.approx(14.6, abs=0.05)
    assert bloom["embodied, tCO2e"].recomputed == pytest.approx(11.2, abs=0.05)
    assert bloom["total, tCO2e"].recomputed == pytest.approx(50.5, abs=0.05)
    assert all(one.reproduced for one in checks)


def test_hours_times_tdp_are_never_called_a_validation() -> None:
    checks, _, _ = validation.validation()
    assumed = [one for one in checks if one.basis == "hours x TDP"]
    assert {one.model for one in assumed} >= {"LLaMA-65B", "Llama 2 70B", "BLOOM-176B", "OPT-175B"}
    assert all("nothing is validated" in one.shows for one in assumed)
    measured = {one.model for one in checks if one.basis.startswith("measured")}
    assert measured == {*PATTERSON, "OLMo 2 7B", "OLMo 2 13B", "BLOOM-176B"}


def test_no_predicted_run_is_in_the_prior() -> None:
    guesses = {one.model: one for one in validation.predictions()}
    assert guesses.keys() == {"OLMo 2 7B", "OLMo 2 13B", "OLMoE-1B-7B"}
    assert not guesses.keys() & {*prior("dense").models, *prior("moe").models}
    assert guesses["OLMo 2 7B"].inside
    assert guesses["OLMo 2 13B"].inside
    assert not guesses["OLMoE-1B-7B"].inside  # and the table says so


def test_what_if_changes_one_thing_at_a_time() -> None:
    plan = planning.plan_of(**LLAMA, country="FRA")
    others = {(what, to): made for what, to, made in alternatives.what_if(plan, ["SWE", "CAN/QC"])}
    assert ("place", "CAN/QC") in others
    planned = planning.estimate_plan(plan)
    sweden = others["place", "SWE"].mid
    assert sweden.energy_mwh == planned.mid.energy_mwh
    assert sweden.operational_tco2e < planned.mid.operational_tco2e
    assert others["accelerator", "H100 SXM"].mid.flops == planned.mid.flops
    sparse = others["model", "sparse with as many active parameters"].mid
    assert sparse.flops == planned.mid.flops
    assert sparse.energy_mwh > planned.mid.energy_mwh


def test_what_if_of_a_sparse_model_shows_dense_ones() -> None:
    plan = planning.plan_of(**{**LLAMA, "parameters": 46.7e9}, active_parameters=12.9e9)
    kinds = [made.mid.flops for what, _, made in alternatives.what_if(plan) if what == "model"]
    assert kinds == pytest.approx([6 * 12.9e9 * 2e12, 6 * 46.7e9 * 2e12])


def test_the_command_says_figures_and_assumptions(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--parameters", "7e9", "--tokens", "2e12", "--accelerator", "H100", "--what-if")
    assert exit_code("estimate", *words, "--pue", "1.1,1.2,1.3", "--at", "SWE") == 0
    out = capsys.readouterr().out
    for said in (
        "[measured prior]",
        "world average",
        "SWE",
        "site energy",
        "price per kWh: unknown",
    ):
        assert said in out


def test_the_command_writes_json(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--gpu-hours", "1000", "--accelerator", "H200", "--json")
    assert exit_code("estimate", *words) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["mid"]["embodied_tco2e"] is None
    assert content["mid"]["it_energy_mwh"] == pytest.approx(0.77)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--tokens", "1e9"), 1, "without parameters"),
        (("--parameters", "1e9", "--tokens", "1e9", "--accelerator", "A10O"), 1, "A100"),
        (("--gpu-hours", "1,2"), 2, "2 numbers"),
        (("--gpu-hours", "many"), 2, "no number"),
        (("--at", "FRA"), 2, "--what-if"),
    ],
)
def test_the_command_refuses_without_a_traceback(
    words: tuple[str, ...], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("estimate", *words) == code
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_the_table_of_published_runs_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("estimate", "--validate") == 0
    out = capsys.readouterr().out
    assert "DIFFERS" not in out
    assert out.index("MEASURED POWER") < out.index("GPT-3") < out.index("ASSUMED POWER")
    assert "OUTSIDE" in out
    assert exit_code("estimate", "--validate", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["checks"]) > 30


def test_a_budget_buys_less_where_a_flop_is_dear() -> None:
    plan = planning.Plan(accelerator="H100", pue=1.2, country="FRA")
    low, mid, high = best_plan(plan, budget_kwh=1e5).choices
    assert low.best.parameters < mid.best.parameters < high.best.parameters
    assert low.best.loss_nats > mid.best.loss_nats > high.best.loss_nats
    for one in (low, mid, high):
        assert one.energy_kwh == pytest.approx(1e5)
        assert one.operational_kg == pytest.approx(1e5 * 44.179 / 1000)
    by_kg = best_plan(plan, budget_kg=1e5 * 44.179 / 1000).choices[1]
    assert by_kg.best.flops == pytest.approx(mid.best.flops)


def test_the_estimate_of_the_best_model_is_its_budget() -> None:
    plan = planning.Plan(accelerator="H100", pue=1.2)
    best = best_plan(plan, budget_kwh=1e5).choices[1].best
    made = greenai.estimate(
        parameters=best.parameters, tokens=best.tokens, accelerator="H100", pue=1.2
    )
    assert made.mid.energy_mwh == pytest.approx(100.0)


def test_a_loss_near_the_floor_has_an_unbounded_price(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--target-loss", "1.85", "--accelerator", "H100")
    assert exit_code("estimate", *words) == 0
    out = capsys.readouterr().out
    assert "no bound" in out
    assert "arXiv:2404.10102" in out
    assert exit_code("estimate", *words, "--json") == 0
    assert json.loads(capsys.readouterr().out)["choices"][2]["energy_kwh"] is None


@pytest.mark.parametrize(
    ("asked", "change", "said"),
    [
        ({}, {}, "0 of target loss"),
        ({"budget_kwh": 1.0, "budget_kg": 1.0}, {}, "2 of target loss"),
        ({"budget_kwh": -1.0}, {}, "budget is -1 kWh"),
        ({"target_loss": 1.0}, {}, "not above"),
        ({"budget_kg": 1.0}, {"intensity_g_per_kwh": 0.0}, "any number"),
        ({"budget_kwh": 1.0}, {"tokens": 1e9}, "what is to be found"),
    ],
)
def test_a_budget_that_says_nothing_is_refused(
    asked: dict[str, float], change: dict[str, Any], said: str
) -> None:
    with pytest.raises(OrderError, match=said):
        best_plan(planning.Plan(**{"accelerator": "H100", **change}), **asked)


def test_a_figure_that_is_not_reproduced_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [run] = [one for one in published() if one.model == "GPT-3"]
    wrong = dataclasses.replace(run, pue=1.2)
    monkeypatch.setattr(validation, "published", lambda: (wrong,))
    assert exit_code("estimate", "--validate") == 1
    out, err = capsys.readouterr()
    assert "DIFFERS" in out
    assert "not reproduced" in err


def test_a_small_accelerator_is_said_to_be_beyond_the_priors() -> None:
    notes = " ".join(greenai.estimate(**{**LLAMA, "accelerator": "L4"}).notes)
    assert "none of L4 is tabled" in notes
    assert "a host weighs more" in notes
    assert "weighs more" not in " ".join(greenai.estimate(**LLAMA).notes)
