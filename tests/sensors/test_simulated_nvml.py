"""Laws of the simulated GPUs: the C library and its Python twin tell the same, and the truth."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import simulation.questions
from scipy.integrate import quad
from simulation.boards import Boards, Knobs
from simulation.nvml_twin import NvmlTwin
from simulation.questions import answers

if TYPE_CHECKING:
    from simulation.fake_nvml import FakeNvml

T0_NS = 7_000_000_000
MOMENTS_NS = [
    T0_NS + round(t_s * 1e9)
    for t_s in (0, 0.003, 0.1, 0.1234, 0.2999, 0.35, 0.7001, 1.0, 1.61, 2.0499, 7.31, 19.999)
]
SETTINGS: list[dict[str, object]] = [
    {},
    {"gpus": 3, "step_w": 33.3, "refresh_ms": 20, "phase_ms": 7.7, "stagger_ms": 3.1},
    {"high_w": 600, "wave_ms": 30, "refresh_ms": 100, "jitter_ms": 5, "seed": 11, "gpus": 2},
    {"high_w": 700, "wave_ms": 1300, "duty": 0.3, "instant_ms": 25, "jitter_ms": 1, "seed": 3},
    {"high_w": 640, "wave": "sine", "wave_ms": 1000, "instant_ms": 100, "phase_ms": 61.4},
    {"high_w": 640, "wave": "sine", "wave_ms": 130, "part": 0.25, "jitter_ms": 1, "phase_ms": 3},
    {"file": "", "instant_ms": 25, "refresh_ms": 20},
    {"refresh_ms": 0, "high_w": 300},
    {"gpus": 2, "no_counter": "0", "no_instant": "1"},
    {"gpus": 2, "fail": "1", "fail_from_s": 0.2, "fail_until_s": 2},
    {"gpus": 2, "fail": "1", "fail_code": 999, "fault_clock": "init"},
    {"reset": "all", "reset_s": 0.3, "part": 0.25},
    {"glitch": "all", "glitch_every": 3, "glitch_factor": 10},
    {"glitch": "all", "glitch_from_s": 0.3, "glitch_until_s": 1.65},
    {"gpus": 3, "mig": "1", "slices": "3,3,1", "no_permission": "2"},
    {"gpus": 2, "superchip": "all", "cpu_w": 80, "no_gpu_scope": "1", "high_w": 500},
    {"superchip": "all", "old_driver": 1, "throttle": 4, "sm_mhz": 1410, "limit_w": 350},
    {"names": "NVIDIA A;NVIDIA B", "gpus": 3, "base_j": 0, "buses": "9,3"},
    {"init_error": 9},
]
WAVES: list[dict[str, object]] = [
    {"low_w": 250},
    {"low_w": 100, "high_w": 700, "wave_ms": 30},
    {"low_w": 100, "high_w": 700, "wave_ms": 1300, "duty": 0.3},
    {"low_w": 100, "high_w": 700, "wave_ms": 900, "wave": "sine"},
    {"file": ""},
]


@pytest.fixture
def wave_file(tmp_path: Path) -> Path:
    path = tmp_path / "wave.csv"
    path.write_text("0,100\n0.05,350.5\n0.35,80\n1,500\n7,123.25\n")
    return path


def with_file(knobs: dict[str, object], path: Path) -> dict[str, object]:
    return {**knobs, "file": path} if "file" in knobs else knobs


@pytest.mark.parametrize("given", SETTINGS, ids=str)
def test_the_library_and_its_twin_answer_alike(
    fake_nvml: FakeNvml, wave_file: Path, given: dict[str, object]
) -> None:
    knobs = {**with_file(given, wave_file), "t0_ns": T0_NS}
    environment = fake_nvml.environment(**knobs)
    environment["PYTHONPATH"] = str(Path(__file__).parent.parent)
    program = Path(simulation.questions.__file__).read_text()
    done = fake_nvml.run_in(environment, program, json.dumps(MOMENTS_NS))
    assert done.stderr == ""

    now_ns = [0]
    twin = NvmlTwin(clock_ns=lambda: now_ns[0], sleep=lambda _: None, **knobs)
    said = answers(twin, lambda t_ns: now_ns.__setitem__(0, t_ns), MOMENTS_NS)
    assert json.loads(done.stdout) == json.loads(json.dumps(said))


@pytest.mark.parametrize("given", WAVES, ids=str)
def test_the_energy_of_a_wave_is_the_integral_of_its_power(
    wave_file: Path, given: dict[str, object]
) -> None:
    boards = boards_of(gpus=2, step_w=11, **with_file(given, wave_file))
    edges_s = np.arange(0, 2.6, 0.0005)
    parts = [boards.power_w(1, float(t_s) + 0.00025) * 0.0005 for t_s in edges_s]
    assert boards.energy_j(1, 2.6) == pytest.approx(math.fsum(parts), rel=2e-4)
    if given.get("wave") == "sine":
        exact_j, _ = quad(lambda t_s: boards.power_w(1, t_s), 0.2, 0.7)
        assert boards.energy_j(1, 0.7) - boards.energy_j(1, 0.2) == pytest.approx(exact_j)


def test_refreshes_come_each_period_late_by_no_more_than_the_jitter() -> None:
    boards = boards_of(refresh_ms=100, phase_ms=37, stagger_ms=5, jitter_ms=5, seed=4, gpus=2)
    for board in (0, 1):
        at_s = sorted({boards.refreshed_s(board, t_ms / 1000) for t_ms in range(2000, 12000)})
        late_s = [(t_s - 0.037 - 0.005 * board) % 0.1 for t_s in at_s]
        assert len(at_s) == 101
        assert all(0 <= late <= 0.005 for late in late_s)
        assert max(late_s) - min(late_s) > 0.003


def test_a_counter_that_sees_a_part_of_the_time_is_blind_to_the_rest() -> None:
    # The low half of the wave always lies where the counter does not look.
    wave = {"low_w": 100, "high_w": 600, "wave_ms": 100, "refresh_ms": 100}
    assert boards_of(**wave, phase_ms=50).counted_j(0, 10.05) == pytest.approx(3500, rel=0.01)
    blind = boards_of(**wave, phase_ms=50, part=0.25)
    assert blind.counted_j(0, 10.05) == pytest.approx(6000, rel=0.01)


def test_the_instant_power_is_the_mean_of_its_window() -> None:
    wave = {"low_w": 100, "high_w": 600, "wave_ms": 100}
    assert boards_of(**wave, phase_ms=10).instant_w(0, 5.05) == 600
    assert boards_of(**wave, phase_ms=60, instant_ms=20).instant_w(0, 5.09) == pytest.approx(350)
    assert boards_of(**wave, instant_ms=100).instant_w(0, 5.05) == pytest.approx(350)


def test_calls_are_counted_for_all_processes(fake_nvml: FakeNvml) -> None:
    code = (
        "import pynvml; pynvml.nvmlInit(); board = pynvml.nvmlDeviceGetHandleByIndex(0)\n"
        "for _ in range(5): pynvml.nvmlDeviceGetTotalEnergyConsumption(board)"
    )
    for _ in range(2):
        fake_nvml.run(code)
    assert fake_nvml.calls() == (12, 10)


def boards_of(**knobs: object) -> Boards:
    plain: dict[str, Any] = {name.upper(): str(value) for name, value in knobs.items()}
    return Boards(Knobs(plain))
