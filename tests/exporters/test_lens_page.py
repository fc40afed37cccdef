"""Laws of the sections on why: what is unknown is not drawn, and no name gets out of its text."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from greenai.analysis.lens import Lens
from greenai.analysis.routing import RouterLoad
from greenai.exporters import lens_charts, lens_sheets, router_bars
from greenai.exporters.comparison_html import comparison_html
from greenai.exporters.design_text import design_text
from greenai.exporters.report_terminal import lens_report

NASTY = ("<script>alert(1)</script>", "\"' onload=alert(1) x='\"", "\x1b[2J\x00evil", "x" * 5_000)
GOLDEN = Path(__file__).parent.parent / "golden" / "comparison-why.txt"


def tags(markup: str) -> list[str]:
    return re.findall(r"<(\w+)", markup)


def changed(lens: Lens, **changes: Any) -> Lens:
    runs = tuple(dataclasses.replace(run, **changes) for run in lens.runs)
    return dataclasses.replace(lens, runs=runs)


def test_the_page_has_every_section_that_its_runs_can_fill(
    make_comparison: Any, make_lens: Any
) -> None:
    markup = comparison_html(make_comparison(), lens=make_lens(sequences=(256, 512)))
    headings = re.findall(r"<h2>(.*?)</h2>", markup)
    assert headings[-8:] == [
        "Loss against energy",
        "Energy per token against loss",
        "Energy per token against sequence length",
        "Doing less, or doing it better",
        "Use of the devices",
        "Energy by phase",
        "Routers",
        "How the runs were made",
    ]
    assert "<script" not in markup
    assert "nan" not in re.sub(r"<style>.*?</style>", "", markup, flags=re.DOTALL)


def test_runs_that_know_nothing_draw_nothing_and_say_unknown(
    make_comparison: Any, make_lens: Any
) -> None:
    empty = np.empty(0)
    lens = changed(
        make_lens(known=False),
        loss=math.nan,
        curve_j=empty,
        curve_loss=empty,
        router=None,
        sequence=None,
        devices=(),
        warmup_s=math.nan,
        active_parameters=math.nan,
        total_parameters=math.nan,
    )
    assert lens_charts.lens_plots(lens) == ()
    assert lens_sheets.decomposition_sheet(lens) is None
    markup = comparison_html(make_comparison(), lens=lens)
    assert "<circle" not in markup
    sheet = lens_sheets.efficiency_sheet(lens)
    assert [column.title for column in sheet.columns] == ["Variant", "Runs", "mJ/token"]


def test_factors_in_the_table_multiply_back(make_lens: Any) -> None:
    sheet = lens_sheets.decomposition_sheet(make_lens())
    assert sheet is not None
    for row in sheet.rows:
        energy, flops, j_per_flop = map(float, row[1:4])
        assert flops * j_per_flop == pytest.approx(energy, rel=2e-3)
    assert sheet.rows[0][-1] == "does less, and does it worse"


def test_what_one_variant_does_not_know_reads_unknown_beside_the_others(make_lens: Any) -> None:
    lens = make_lens()
    runs = [
        dataclasses.replace(run, loss=math.nan) if run.work.variant == "moe" else run
        for run in lens.runs
    ]
    sheet = lens_sheets.efficiency_sheet(dataclasses.replace(lens, runs=tuple(runs)))
    assert [row[-1] for row in sheet.rows] == ["1.25", "unknown", "1.46"]


def test_no_variant_that_another_beats_in_both_is_called_best(make_lens: Any) -> None:
    assert lens_charts.pareto(make_lens()) == ["dense", "moe"]


def test_a_variant_with_an_unknown_loss_beats_nobody(make_lens: Any) -> None:
    lens = make_lens()
    runs = [
        dataclasses.replace(run, loss=math.nan) if run.work.variant == "dense" else run
        for run in lens.runs
    ]
    known = dataclasses.replace(lens, runs=tuple(runs))
    assert lens_charts.pareto(known) == ["moe"]


def test_energy_against_sequence_needs_two_lengths_of_one_variant(make_lens: Any) -> None:
    assert lens_charts.energy_against_sequence(make_lens()) is None
    plot = lens_charts.energy_against_sequence(make_lens(sequences=(256, 1024)))
    assert plot is not None
    assert [curve.name for curve in plot.chart.curves] == ["dense", "moe", "window"]
    assert all(curve.x.tolist() == [256, 1024] for curve in plot.chart.curves)


def test_variants_of_one_length_each_are_joined_by_their_attention(make_lens: Any) -> None:
    runs = [
        dataclasses.replace(
            run, work=dataclasses.replace(run.work, variant=f"{run.work.variant}-{run.sequence}")
        )
        for run in make_lens(sequences=(256, 1024)).runs
    ]
    plot = lens_charts.energy_against_sequence(Lens("token", "dense-256", tuple(runs)))
    assert plot is not None
    assert [curve.name for curve in plot.chart.curves] == ["sdpa", "sliding_window"]


def test_runs_of_a_sweep_are_in_that_plot_and_in_no_ratio(make_lens: Any) -> None:
    lens = make_lens()
    swept = dataclasses.replace(lens, sweep=make_lens(sequences=(2048,)).runs)
    plot = lens_charts.energy_against_sequence(swept)
    assert plot is not None
    assert plot.chart.curves[0].x.tolist() == [512, 2048]
    assert swept.decompositions() == lens.decompositions()
    assert swept.efficiencies() == lens.efficiencies()


def test_runs_of_a_variant_share_a_colour(make_lens: Any) -> None:
    plot = lens_charts.loss_against_energy(make_lens())
    assert plot is not None
    assert sorted(set(plot.colours)) == [0, 1, 2]
    assert len(plot.colours) == 18


def test_hundreds_of_runs_are_not_all_drawn(make_lens: Any) -> None:
    plot = lens_charts.loss_against_energy(make_lens(repeats=100))
    assert plot is not None
    assert len(plot.colours) == lens_charts.RUNS_MAX


@pytest.mark.parametrize(("routers", "experts"), [(1, 1), (3, 64), (40, 300)])
def test_bars_of_experts_are_drawn_within_the_plot(
    make_lens: Any, routers: int, experts: int
) -> None:
    share = np.random.default_rng(0).dirichlet(np.full(experts, 0.5), routers)
    lens = changed(make_lens(names=("moe",), repeats=1), router=RouterLoad(share, 1.0, 0.0))
    markup = router_bars.router_figures(lens)
    bars = re.findall(r'<rect class="\w+" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"', markup)
    strips = min(routers, router_bars.STRIPS_MAX)
    assert len(bars) == 2 * strips * min(experts, router_bars.EXPERTS_MAX)
    assert all(float(x) + float(w) <= router_bars.WIDTH - router_bars.RIGHT + 1 for x, _, w in bars)
    assert ("least even of 40" in markup) == (routers == 40)


def test_an_expert_whose_load_is_unknown_has_no_bar(make_lens: Any) -> None:
    share = np.array([[0.5, 0.5, np.nan]])
    lens = changed(make_lens(names=("moe",), repeats=1), router=RouterLoad(share, 1.0, 0.0))
    assert router_bars.router_figures(lens).count("<rect") == 4  # two variants of two bars


@pytest.mark.parametrize("nasty", NASTY)
def test_no_fact_gets_out_of_its_text(make_comparison: Any, make_lens: Any, nasty: str) -> None:
    plain = comparison_html(make_comparison(names=("moe",)), lens=make_lens(names=("moe",)))
    facts = dict.fromkeys(("match_basis", "text", "tokenizer", "batch", "kernel"), nasty)
    lens = changed(
        make_lens(names=(f"moe{nasty}",), notes=()),
        attention=nasty,
        feed_forward=nasty,
        facts=facts,
    )
    markup = comparison_html(make_comparison(names=(f"moe{nasty}",)), lens=lens)
    assert tags(markup) == tags(plain)
    assert "\x1b" not in markup
    assert len(markup) < len(plain) + 20_000


def test_the_design_says_what_the_records_say_and_no_more(
    make_comparison: Any, make_lens: Any
) -> None:
    comparison = make_comparison()
    text = design_text(comparison, make_lens())
    for said in (
        "dense (n = 6), moe (n = 6) and window (n = 6)",
        "matched on active parameters",
        "512 tokens",
        "Learning rates are untuned.",
        "NVIDIA H200 (nvml_energy)",
        "The first 1.50 s of each run",
        "paired ratios",
        "Holm",
        "balanced over the repeats",
        "shares its seed",
    ):
        assert said in text
    bare = design_text(comparison, changed(make_lens(known=False), devices=(), sequence=None))
    for said in ("matched", "tokens have", "Learning rates", "Energy is gross", "balanced", "seed"):
        assert said not in bare
    assert "None" not in bare
    assert "nan" not in bare.split()


def test_the_terminal_shows_the_same_sheets(make_lens: Any) -> None:
    console = Console(width=110, file=io.StringIO())
    console.print(lens_report(make_lens(notes=("One note.",))))
    text = "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined] # the file given
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_the_factors_are_strict_json(make_lens: Any) -> None:
    plain = json.loads(json.dumps(make_lens(known=False).to_json(), allow_nan=False))
    assert plain["efficiency"][0]["mfu"] is None
    assert [one["variant"] for one in plain["decomposition"]] == ["moe", "window"]
