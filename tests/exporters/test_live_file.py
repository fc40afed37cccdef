"""Laws of figures as JSON: nothing is lost, it stays small, and what others wrote is data."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenai.errors import RecordError
from greenai.exporters.figures import Bounds, DeviceFigures, Figures, StepHistogram
from greenai.exporters.live_file import figures_from_json, figures_to_json, read_live
from greenai.exporters.ranks import counted_once
from greenai.metrics import BY_NAME, PHASES

if TYPE_CHECKING:
    from collections.abc import Callable

LIVE = Path("live.json")
numbers = st.floats(0, 1e12)
maybe = st.none() | numbers
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
bounds = st.none() | st.builds(Bounds, numbers, numbers, numbers)


@st.composite
def histograms(draw: st.DrawFn) -> StepHistogram:
    histogram = StepHistogram.of_energy()
    for step, value in enumerate(draw(st.lists(st.floats(0, 1e7), max_size=5))):
        histogram.observe(value, step)
    return histogram


devices = st.builds(
    DeviceFigures,
    energy_j_by_phase=st.dictionaries(st.sampled_from(PHASES), numbers),
    **{
        one.name: {"str": texts, "float | None": maybe}[str(one.type)]
        for one in dataclasses.fields(DeviceFigures)
        if one.name not in {"kind", "energy_j_by_phase"}
    },
    kind=st.sampled_from(["gpu", "cpu", "dram", "other"]),
)
figures = st.builds(
    Figures,
    attempt=st.integers(0, 99),
    rank=st.integers(0, 4095),
    info=st.dictionaries(st.sampled_from(BY_NAME["greenai_run_info"].labels), texts),
    devices=st.lists(devices, max_size=3).map(tuple),
    host_energy_j=st.dictionaries(texts, numbers, max_size=2),
    errors=st.dictionaries(texts, numbers, max_size=2),
    router_load=st.lists(maybe, max_size=4).map(tuple),
    forecast_energy_j=bounds,
    forecast_emissions_g=bounds,
    forecast_cost=bounds,
    step_energy_j=st.none() | histograms(),
    step_duration_s=st.none() | histograms(),
    **{
        one.name: {"str": texts, "float | None": maybe}[str(one.type)]
        for one in dataclasses.fields(Figures)
        if one.type in {"str", "float | None"}
    },
)


def comparable(one: Figures) -> dict[str, Any]:
    plain = {field.name: getattr(one, field.name) for field in dataclasses.fields(one)}
    for name in ("step_energy_j", "step_duration_s"):
        plain[name] = plain[name] and plain[name].to_json()
    return plain


def full(gpus: int) -> Figures:
    energy = StepHistogram.of_energy()
    for step in range(1000):
        energy.observe(0.02 * 1.02**step, 10**6 + step)
    gpu = DeviceFigures(
        device="gpu0",
        kind="gpu",
        key="GPU-00000000-1111-2222-3333-444444444444",
        uuid="GPU-00000000-1111-2222-3333-444444444444",
        model="NVIDIA H100 80GB HBM3",
        energy_j_by_phase=dict.fromkeys(PHASES, 123456.789012345),
        power_w=651.2345678,
    )
    return Figures(
        run_id="a" * 32,
        attempt=0,
        devices=(gpu,) * gpus,
        step_energy_j=energy,
        step_duration_s=energy,
        router_load=(1 / 256,) * 256,
    )


@given(figures)
def test_figures_that_went_through_json_are_the_same(one: Figures) -> None:
    text = json.dumps(figures_to_json(one), allow_nan=False)
    assert comparable(figures_from_json(json.loads(text), LIVE)) == comparable(one)


def test_an_unknown_number_comes_back_unknown() -> None:
    one = Figures(run_id="r", attempt=0, tokens=math.nan, epoch=math.inf)
    back = figures_from_json(figures_to_json(one), LIVE)
    assert (back.tokens, back.epoch, back.steps) == (None, None, None)


def test_eight_gpus_fit_into_64_kb_of_json() -> None:
    assert len(json.dumps(figures_to_json(full(8)))) < 32_000


def test_a_text_of_any_length_is_cut() -> None:
    plain = figures_to_json(
        Figures(run_id="\ud800" * 10_000, attempt=0, info={"project": "x" * 999})
    )
    back = figures_from_json(json.loads(json.dumps(plain)), LIVE)
    assert (len(back.run_id), len(back.info["project"])) == (200, 200)


def test_keys_of_a_later_greenai_are_passed_over() -> None:
    plain = {**figures_to_json(full(1)), "later": [1]}
    plain["info"] = {"project": "p", "later_label": "x"}
    assert figures_from_json(plain, LIVE).info == {"project": "p"}


def changed(key: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda plain: plain.update({key: value})


WRONG = [
    changed("version", 2),
    changed("attempt", -1),
    changed("attempt", True),
    changed("run_id", 7),
    changed("run_id", "x" * 201),
    changed("tokens", -1.0),
    changed("tokens", "512"),
    changed("tokens", math.inf),
    changed("pue", 10**400),
    changed("devices", {}),
    changed("devices", [[]]),
    changed("devices", [{}] * 257),
    changed("errors", {"x": "y"}),
    changed("errors", dict.fromkeys(map(str, range(65)), 1)),
    changed("router_load", [0.5] * 257),
    changed("forecast_energy_j", [1.0, 2.0]),
    changed("step_energy_j", {}),
    lambda plain: plain["step_energy_j"].update(counts=[1]),
    lambda plain: plain["step_energy_j"].update(uppers=[0.0] * 12),
    lambda plain: plain["step_energy_j"].update(exemplars=[[1.0, "step", 2.0]] * 13),
    lambda plain: plain["step_energy_j"].update(sum=None),
    lambda plain: plain["devices"][0].update(kind="toaster"),
    lambda plain: plain["devices"][0].update(energy_j_by_phase={"lunch": 1.0}),
    lambda plain: plain["devices"][0].update(energy_j_by_phase={"other": -1.0}),
    lambda plain: plain.pop("devices"),
]


@pytest.mark.parametrize("spoil", WRONG)
def test_what_we_did_not_write_is_refused(spoil: Callable[[dict[str, Any]], object]) -> None:
    plain = json.loads(json.dumps(figures_to_json(full(1))))
    spoil(plain)
    with pytest.raises(RecordError):
        figures_from_json(plain, LIVE)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.data())
def test_any_value_in_any_place_gives_figures_or_a_record_error(data: st.DataObject) -> None:
    plain = json.loads(json.dumps(figures_to_json(full(1))))
    place: Any = plain
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(anything)
    with contextlib.suppress(RecordError):
        figures_to_json(figures_from_json(plain, LIVE))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"written_utc_ns": 1}', '{"written_utc_ns": -1, "figures": {}}']
)
def test_a_file_that_is_none_is_a_record_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "live.json"
    path.write_text(text)
    with pytest.raises(RecordError):
        read_live(path)
    with pytest.raises(RecordError):
        read_live(tmp_path / "missing.json")


def test_a_device_of_several_ranks_is_the_lowest_ones() -> None:
    cpu = DeviceFigures(device="cpu0", kind="cpu", key="h/cpu", energy_j_by_phase={"other": 1.0})
    dram = dataclasses.replace(cpu, kind="dram")
    nameless = dataclasses.replace(cpu, key="")
    silent = dataclasses.replace(cpu, energy_j_by_phase={})
    ranks = [
        Figures(run_id="r", attempt=0, rank=rank, devices=own, tokens=5.0)
        for rank, own in ((2, (cpu, dram)), (0, (silent, nameless)), (1, (cpu, nameless)))
    ]
    shown = counted_once([*ranks, Figures(run_id="r", attempt=1, rank=3, devices=(cpu,))])
    assert [(one.attempt, one.rank, one.devices) for one in shown] == [
        (0, 0, (silent, nameless)),
        (0, 1, (cpu, nameless)),
        (0, 2, (dram,)),
        (1, 3, (cpu,)),
    ]
    assert sum(one.tokens or 0.0 for one in shown) == 15.0
