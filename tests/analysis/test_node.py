"""Laws of meters of the whole machine: exact where they cover the run, unknown elsewhere."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation.counters import a_channel, attempt_of, marks_of, readings_of

from greenai.analysis.node import meter_energy, node_energies
from greenai.record.types import CHANGE, FIRST, Attempt, ChannelReadings

S = 1_000_000_000
EDGES = np.array([100 * S, 150 * S, 200 * S])


def meter(
    watts: float,
    first_s: float = 90,
    last_s: float = 210,
    every_s: float = 10,
    host: str = "h1",
    **changes: Any,
) -> ChannelReadings:
    """A meter of constant power, read every some seconds."""
    facts = {"method": "ipmi_dcmi", "quantity": "power_w", "device_key": f"{host}/node-ipmi"}
    channel = a_channel(**{"kind": "other", "primary": False, "scope": "node", **facts, **changes})
    counted = channel.quantity == "energy_j"
    times_s = np.arange(first_s, last_s + 0.1, every_s)
    rows = [
        (int(t * S), int(t * S), watts * t if counted else watts, CHANGE if at else FIRST)
        for at, t in enumerate(times_s.tolist())
    ]
    return readings_of(channel, rows)


def attempt(*readings: ChannelReadings, host: str = "h1", number: int = 0) -> tuple[Attempt, Any]:
    made = attempt_of(list(readings), marks_of([]))
    return dataclasses.replace(made, manifest={"host": host}, attempt=number), EDGES


@given(
    watts=st.floats(1, 5000),
    every_s=st.floats(0.5, 30),
    phase_s=st.floats(0, 1),
    counted=st.booleans(),
)
def test_a_constant_power_gives_its_exact_energy(
    watts: float, every_s: float, phase_s: float, *, counted: bool
) -> None:
    quantity = "energy_j" if counted else "power_w"
    first_s = 100 - every_s * phase_s
    said = meter(watts, first_s, 200 + every_s, every_s, quantity=quantity)
    assert meter_energy(said, 100 * S, 200 * S) == pytest.approx(100 * watts, rel=1e-6)


def test_a_power_is_the_mean_since_the_value_before() -> None:
    channel = meter(1.0).channel
    rows = [(t * S, t * S, watts, CHANGE) for t, watts in ((90, 0.5), (150, 200.0), (210, 400.0))]
    assert meter_energy(readings_of(channel, rows), 100 * S, 200 * S) == 50 * 200 + 50 * 400


@pytest.mark.parametrize(
    ("first_s", "last_s"), [(120, 210), (90, 180), (10, 60), (300, 400), (150, 150)]
)
def test_a_run_that_is_not_covered_is_unknown(first_s: float, last_s: float) -> None:
    assert math.isnan(meter_energy(meter(300, first_s, last_s), 100 * S, 200 * S))


def test_a_gap_is_unknown_inside_the_run_and_harmless_outside() -> None:
    said = meter(300, 10, 210)
    inside = (said.t_hi_ns > 120 * S) & (said.t_hi_ns < 180 * S)
    before = (said.t_hi_ns > 20 * S) & (said.t_hi_ns < 80 * S)

    def without(gone: Any) -> ChannelReadings:
        return dataclasses.replace(said, value=np.where(gone, np.nan, said.value))

    assert math.isnan(meter_energy(without(inside), 100 * S, 200 * S))
    assert meter_energy(without(before), 100 * S, 200 * S) == pytest.approx(30_000)


def test_a_counter_that_falls_is_unknown() -> None:
    said = meter(300, quantity="energy_j")
    fallen = np.where(said.t_hi_ns > 150 * S, said.value - 20_000, said.value)
    assert math.isnan(meter_energy(dataclasses.replace(said, value=fallen), 100 * S, 200 * S))


def test_ranks_of_one_machine_share_its_meter_and_machines_add_up() -> None:
    pair = [attempt(meter(300)), attempt(meter(300)), attempt(meter(500, host="h2"), host="h2")]
    assert node_energies(pair) == {"ipmi_dcmi": pytest.approx(80_000)}


def test_a_machine_or_an_attempt_without_the_meter_makes_it_unknown() -> None:
    with_ = attempt(meter(300))
    assert math.isnan(node_energies([with_, attempt(host="h2")])["ipmi_dcmi"])
    assert math.isnan(node_energies([with_, attempt(number=1)])["ipmi_dcmi"])
    late = attempt(meter(300, 150), host="h1", number=1)
    assert math.isnan(node_energies([with_, late])["ipmi_dcmi"])


def test_slurms_meter_holds_all_machines_by_itself() -> None:
    facts = {"method": "slurm_consumed_energy", "device_key": "slurm/42", "quantity": "energy_j"}
    job = meter(900, every_s=30, **facts)
    found = node_energies([attempt(job), attempt(host="h2")])
    assert found == {"slurm_consumed_energy": pytest.approx(90_000)}


def test_only_meters_of_the_node_are_meant() -> None:
    others = [meter(300, scope=""), meter(300, scope="node", primary=True)]
    assert node_energies([attempt(*others)]) == {}
