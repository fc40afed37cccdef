"""The strong law: with real runs behind a real Prometheus, no panel of any dashboard is empty.

Simulated GPUs are metered by the real sampler, its exporter is scraped by a real Prometheus, and
every expression is asked as Grafana asks it. Grafana's server itself is not here.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from simulation.fake_nvml import FakeNvml, uuid_of
from simulation.grafana_text import Asked, asked, choices, filled_in, looked_up
from simulation.prometheus_server import Prometheus, prometheus

from greenai.dashboards import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("served_run.py")
RANGE_S = 60
PATIENCE_S = 50.0
"""Longest that is waited for every panel to have something; some 15 s are usual."""
PRICE = 0.25
GPUS_W = {"dense": 300.0, "moe": 200.0, "window": 120.0}
"""True power of one GPU of each variant's run."""


class World(NamedTuple):
    """What is running.

    Attributes:
        server: Scrapes it.
        ids: Run by variant.
        empty: Expressions without an answer.
        answers: Series of each expression.
    """

    server: Prometheus
    ids: dict[str, str]
    empty: list[str]
    answers: dict[str, list[dict[str, Any]]]


def started(folder: Path, variant: str, nvml: FakeNvml) -> list[subprocess.Popen[bytes]]:
    """Processes of a run: dense has two ranks with a GPU each, the others one that restarts."""
    idle = {"idle": "1"} if variant == "dense" else {}
    environment = nvml.environment(gpus=2, low_w=GPUS_W[variant], **idle)
    project = "vision" if variant == "window" else "text"
    experts = "4" if variant == "moe" else "0"
    pace = {"dense": "0.1", "moe": "0.15", "window": "0.05"}[variant]
    pdu = str(folder / f"{variant}.csv")
    words = [str(folder / f"{variant}-0"), variant, project, experts, pace, pdu]
    several: list[dict[str, str]] = [{}]
    if variant == "dense":
        launch = {"TORCHELASTIC_RUN_ID": "job", "WORLD_SIZE": "2"}
        several = [
            {**launch, "RANK": str(rank), "LOCAL_RANK": str(rank), "GREENAI_DEVICES": uuid_of(rank)}
            for rank in range(2)
        ]
    return [
        subprocess.Popen([sys.executable, str(SCRIPT), *words], env={**environment, **own})
        for own in several
    ]


def told_by(folder: Path, process: subprocess.Popen[bytes]) -> tuple[str, int]:
    """Run and port of the attempt that serves."""
    give_up_s = time.monotonic() + 30
    while time.monotonic() < give_up_s:
        assert process.poll() is None, "a run has ended"
        for path in folder.glob("rank-0/attempt-*/live.json"):
            with contextlib.suppress(ValueError):
                told = json.loads(path.read_text(encoding="utf-8"))
                if port := told.get("metrics_port"):
                    return str(told["run_id"]), int(port)
        time.sleep(0.1)
    raise TimeoutError(f"{folder} serves no metrics")


def answered(server: Prometheus, one: Asked, values: dict[str, str]) -> list[dict[str, Any]]:
    """Series of an expression that have at least one number."""
    expr = filled_in(one.expr, values)
    series = server.latest(expr) if one.instant else server.over(expr, RANGE_S)
    seen = [[row[""]] if isinstance(row[""], float) else row[""] for row in series]
    return [row for row, some in zip(series, seen, strict=True) if any(map(math.isfinite, some))]


@pytest.fixture(scope="module")
def world(
    compiled_nvml: Path,
    tmp_path_factory: pytest.TempPathFactory,
    shipped: dict[str, dict[str, Any]],
) -> Iterator[World]:
    if shutil.which("prometheus") is None:
        pytest.skip("Prometheus is not installed: make servers")
    folder = tmp_path_factory.mktemp("served")
    rules = folder / "rules.yaml"
    shown = text_of("rules")
    assert "interval: 15s" in shown
    rules.write_text(shown.replace("interval: 15s", "interval: 1s"), encoding="utf-8")
    with contextlib.ExitStack() as stack:
        runs = {name: started(folder, name, FakeNvml(compiled_nvml)) for name in GPUS_W}
        for process in itertools.chain(*runs.values()):
            stack.callback(process.wait, 20)
            stack.callback(process.kill)
        told = {name: told_by(folder / f"{name}-0", run[0]) for name, run in runs.items()}
        ids = {name: run_id for name, (run_id, _) in told.items()}
        ports = [port for _, port in told.values()]
        server = stack.enter_context(prometheus(folder, ports, [rules]))
        values = {
            "project": ".*",
            "variant": ".*",
            "baseline": "dense",
            "price": str(PRICE),
        }
        wanted = {
            f"{one.where} {one.expr}": (
                one,
                {**values, "run": ids["moe"] if name == "run" else ".*"},
            )
            for name, dashboard in shipped.items()
            for one in asked(dashboard)
        }
        answers: dict[str, list[dict[str, Any]]] = {}
        give_up_s = time.monotonic() + PATIENCE_S
        while len(answers) < len(wanted) and time.monotonic() < give_up_s:
            time.sleep(0.5)
            for where, (one, chosen) in wanted.items():
                if where not in answers and (series := answered(server, one, chosen)):
                    answers[where] = series
        # Once more, all at one time.
        answers = {where: answered(server, *one) for where, one in wanted.items()}
        empty = [where for where, series in answers.items() if not series]
        yield World(server, ids, empty, answers)


def of(world: World, begin: str) -> list[dict[str, Any]]:
    (found,) = (series for where, series in world.answers.items() if where.startswith(begin))
    return found


def expr_of(dashboard: dict[str, Any], title: str, **chosen: str) -> str:
    """First expression of a panel, filled in."""
    (panel,) = (one for one in dashboard["panels"] if one["title"] == title)
    values = {"project": ".*", "variant": ".*", **chosen}
    return filled_in(panel["targets"][0]["expr"], values)


def test_no_panel_and_no_annotation_is_empty(world: World) -> None:
    assert world.empty == []


def test_every_variable_has_values(world: World, shipped: dict[str, dict[str, Any]]) -> None:
    chosen = {"project": "text", "variant": "moe|dense", "run": ".*"}
    expected = {
        "project": {"text", "vision"},
        "variant": {"dense", "moe"},
        "run": {world.ids["dense"], world.ids["moe"]},
        "baseline": {"dense", "moe"},
    }
    for dashboard in shipped.values():
        for one in looked_up(dashboard):
            expr = filled_in(one.expr, chosen)
            if one.label:
                found = world.server.values_of(one.label, expr)
            else:
                series = world.server.latest(expr)
                began = [row[""] for row in series]
                assert began == sorted(began, reverse=True)
                shown = choices(one.regex, series)
                named = {world.ids[name]: f"{name} {world.ids[name][:8]}" for name in world.ids}
                assert all(named[run_id] == text for run_id, text in shown.items())
                found = list(shown)
            assert set(found) == expected[one.name], one.name


def test_power_is_that_of_the_simulated_gpus(
    world: World, shipped: dict[str, dict[str, Any]]
) -> None:
    by_device = expr_of(shipped["run"], "Power by device", run=world.ids["moe"])
    by_variant = expr_of(shipped["compare"], "Power by variant", run=".*")
    true_w = {name: 2 * watts for name, watts in GPUS_W.items()}
    give_up_s = time.monotonic() + 20
    while True:  # a rate over 4 scrapes needs some seconds on a busy machine
        devices = {row["device"]: fmean(row[""]) for row in world.server.over(by_device, 5)}
        variants = {row["variant"]: fmean(row[""]) for row in world.server.over(by_variant, 5)}
        try:
            assert devices == pytest.approx(dict.fromkeys(("gpu0", "gpu1"), 200), rel=0.03)
            assert variants == pytest.approx(true_w, rel=0.03)
        except AssertionError:
            if time.monotonic() > give_up_s:
                raise
            time.sleep(0.5)
        else:
            return


def test_the_baseline_is_one_and_what_takes_more_power_for_a_slower_step_is_more(
    world: World,
) -> None:
    ratio = {
        row["variant"]: row[""] for row in of(world, "greenai / Compare: Ratio to the baseline (A)")
    }
    assert ratio["dense"] == pytest.approx(1)
    assert ratio["window"] < 1


def test_money_is_energy_with_pue_times_the_price(world: World) -> None:
    energy = {
        row["project"]: row[""] for row in of(world, "greenai / Fleet: Energy by project (A)")
    }
    money = {row["project"]: row[""] for row in of(world, "greenai / Fleet: Money by project (A)")}
    assert set(energy) == {"text", "vision"}
    for project, kwh in energy.items():
        assert money[project] == pytest.approx(kwh * 1.2 * PRICE, rel=0.1)  # asked one by one


def test_all_attempts_count(world: World) -> None:
    (runs,) = of(world, "greenai / Fleet: Runs (A)")
    assert runs[""] == 3
    (began,) = of(world, "greenai / Run: Restart")
    assert began["attempt"] == "1"
    assert 0 < time.time() - min(began[""]) / 1e3 < 120
    assert min(began[""]) == max(began[""])


def test_every_rank_counts_once(world: World, shipped: dict[str, dict[str, Any]]) -> None:
    by_device = expr_of(shipped["run"], "Power by device", run=world.ids["dense"])
    seen = {(row["rank"], row["device"]) for row in world.server.over(by_device, 5)}
    assert seen == {("0", "gpu0"), ("1", "gpu1")}


def test_only_the_idle_gpu_is_idle(world: World) -> None:
    idle = of(world, "greenai / Fleet: Power of idle GPUs (A)")
    assert {row["project"]: row[""][-1] for row in idle} == pytest.approx(
        {"text": GPUS_W["dense"]}, rel=0.03
    )


def test_the_rules_record_what_the_dashboards_show(world: World) -> None:
    power = {row["run_id"]: row[""] for row in world.server.latest("greenai:power_watts:sum")}
    assert power == pytest.approx({world.ids[name]: 2 * w for name, w in GPUS_W.items()}, rel=0.05)
    groups = world.server.get("rules")["groups"]
    assert [
        rule["lastError"] for group in groups for rule in group["rules"] if "lastError" in rule
    ] == []
