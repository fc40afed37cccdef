"""Laws of the probes that need no work on a card: they run against the simulated driver."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from simulation.fake_nvml import FakeNvml

NVML_ONLY = """
import json, sys
sys.path.insert(0, sys.argv[1])
from gpu import loops
from gpu.card import NvmlMeter
bench = loops.Bench(None, NvmlMeter(sys.argv[2]), seconds=float(sys.argv[3]))
results = loops.latencies(bench, loaded=False) + loops.refreshes(bench, loaded=False)
bench.seconds /= 4  # the integral takes twelve loops
results += loops.integral(bench, loaded=False)
print(json.dumps([one._asdict() for one in results]))
"""

PACKAGE = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from gpu import loops, package
from gpu.card import NvmlMeter


class SleepingCard:
    '''Its work is to let time pass.'''

    unit_s, light_s = 1e-3, 1e-5
    until_s = 0.0

    def heavy(self, units):
        self.queue(units * self.unit_s)

    def light(self, units):
        self.queue(units * self.light_s)

    def queue(self, seconds):
        now_s = time.monotonic()
        self.until_s = max(self.until_s, now_s) + seconds
        time.sleep(max(0.0, self.until_s - now_s - 0.05))  # a queue is only so long

    def synchronize(self):
        time.sleep(max(0.0, self.until_s - time.monotonic()))


package.START_S = 0.3
card, folder = SleepingCard(), Path(sys.argv[2])
bench = loops.Bench(card, NvmlMeter(), seconds=0.5)
answers = {
    "T6": package.interference(bench, card, repeats=2),
    "overhead": package.overhead(bench, card, folder, pairs=2, block_s=0.3),
    "classes": package.classes(bench, card, folder, durations_ms=(200,), run_s=3.0),
}
try:
    package.boundaries(bench, folder, steps=40)
except package.NoEvents as reason:
    skipped = str(reason)
import greenai
run = greenai.load(folder / "boundaries")
ends, marks = package.ends_ns(run), package.marked_ns(run)
print(json.dumps({
    **{name: [one._asdict() for one in rows] for name, rows in answers.items()},
    "skipped": skipped,
    "apart_ns": max(abs(ends[step] - marks[step]) for step in marks),
    "steps": len(marks),
}))
"""


def folder_of_tests(request: pytest.FixtureRequest) -> str:
    return str(request.config.rootpath / "tests")


def value_of(results: list[dict[str, Any]], what: str) -> float:
    (found,) = [one["value"] for one in results if one["what"] == what]
    return float(found)


@pytest.mark.parametrize("refresh_ms", [20, 100])
def test_latency_refresh_and_integral_are_found(
    fake_nvml: FakeNvml, request: pytest.FixtureRequest, refresh_ms: int
) -> None:
    done = fake_nvml.run(
        NVML_ONLY,
        folder_of_tests(request),
        fake_nvml.uuid(1),
        "1.0",
        gpus=2,
        low_w=100,
        step_w=200,
        refresh_ms=refresh_ms,
        latency_us=200,
    )
    results = json.loads(done.stdout)
    assert 200 <= value_of(results, "energy counter, at rest, p50") < 5000
    found_ms = value_of(results, "energy counter changes, at rest, p50")
    assert found_ms == pytest.approx(refresh_ms, abs=4)
    assert value_of(results, "counter - power, at rest") == pytest.approx(0, abs=1)


@pytest.mark.slow
def test_the_probes_of_the_package_run_and_find_nothing_where_nothing_is(
    fake_nvml: FakeNvml, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Power is constant here: heavy and light steps cost the same, and the intervals hold it."""
    done = fake_nvml.run(PACKAGE, folder_of_tests(request), str(tmp_path), low_w=300, refresh_ms=20)
    said = json.loads(done.stdout.splitlines()[-1])
    for kind in ("heavy", "light"):
        what = f"{kind} steps of 200 ms"
        assert value_of(said["classes"], f"{what}: mean against a long run") == pytest.approx(
            0, abs=10
        )
        assert value_of(said["classes"], f"{what}: intervals that hold it") > 60
    slower = {one["what"]: one for one in said["overhead"]}
    assert {"launch-bound slower", "GEMM-bound slower"} <= set(slower)
    assert value_of(said["T6"], "a launch, meter polled at 0 Hz, p50") >= 1
    assert "cuda_event" in said["skipped"]
    assert said["steps"] == 40
    # The table's ends, brought back to the monotonic clock, are the marks.
    assert said["apart_ns"] < 5_000
