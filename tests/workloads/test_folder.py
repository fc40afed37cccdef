from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from greenai.errors import OrderError, RecordError
from greenai.workloads import folder as folder_module
from greenai.workloads.data import load_text
from greenai.workloads.design import QUICK, variants_of
from greenai.workloads.facts import Experiment
from greenai.workloads.folder import Done, begun, bench_folder, write_design
from greenai.workloads.resting import Look

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ["dense", "moe"]
VARIANTS = variants_of(QUICK.model, NAMES)
EXPERIMENT = Experiment(
    size=QUICK,
    variants=VARIANTS,
    kernels=dict.fromkeys(VARIANTS, "flash"),
    learning_rates={"dense": 1e-3, "moe": 3e-3},
    tuned=True,
    match="active-params",
    text=load_text(max_bytes=10_000),
    warmup_s=1.5,
    seconds=6.0,
    idle=Look(),
    rate_losses_nats={"dense": {1e-3: 2.0, 3e-3: float("nan")}},
)
DONE = Done(1, ["dense-r0", "moe-r0"], {"dense": [2.5], "moe": [float("nan")]})


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    for name in (*DONE.runs, "moe-r1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").touch()
    write_design(tmp_path, EXPERIMENT, DONE, planned=2, notices=["Mind this."])
    return tmp_path


def test_an_experiment_goes_on_where_it_ended(bench: Path) -> None:
    assert bench_folder(bench, resume=True) == bench
    done = begun(bench, EXPERIMENT, across_device=False)
    assert (done.repeats, done.runs, done.tuned) == (1, ["dense-r0", "moe-r0"], True)
    assert done.learning_rates == {"dense": 1e-3, "moe": 3e-3}
    assert done.losses["dense"] == [2.5]
    assert list(done.rate_losses_nats["dense"]) == [1e-3, 3e-3]
    assert math.isnan(*done.losses["moe"])


def test_runs_of_a_cut_repeat_are_put_aside_and_not_thrown_away(bench: Path) -> None:
    begun(bench, EXPERIMENT, across_device=False)
    assert not (bench / "moe-r1").exists()
    assert [path.name for path in (bench / "unfinished").iterdir()] == ["moe-r1-1"]
    (bench / "moe-r1").mkdir()
    (bench / "moe-r1" / "manifest.json").touch()
    begun(bench, EXPERIMENT, across_device=False)
    assert len(list((bench / "unfinished").iterdir())) == 2


def test_runs_of_another_machine_are_refused_unless_that_is_wanted(
    bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "device_name", lambda: "NVIDIA H200")
    with pytest.raises(OrderError, match="NVIDIA H200") as refusal:
        begun(bench, EXPERIMENT, across_device=False)
    assert "--across device" in refusal.value.hint
    assert (bench / "moe-r1").exists()
    assert begun(bench, EXPERIMENT, across_device=True).repeats == 1


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"seconds": 7.0}, "seconds"),
        ({"match": "flops"}, "match_basis"),
        ({"variants": variants_of(QUICK.model, ["dense", "gqa"])}, "variants"),
        ({"text": load_text(max_bytes=20_000)}, "text"),
    ],
)
def test_another_experiment_does_not_go_on_in_the_same_folder(
    bench: Path, change: dict[str, object], word: str
) -> None:
    with pytest.raises(OrderError, match=word):
        begun(bench, replace(EXPERIMENT, **change), across_device=True)  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"done_repeats": "many"}'])
def test_a_damaged_account_is_an_error_and_no_new_start(bench: Path, content: str) -> None:
    (bench / "bench.json").write_text(content, encoding="utf-8")
    with pytest.raises(RecordError) as refusal:
        begun(bench, EXPERIMENT, across_device=False)
    assert refusal.value.path == bench / "bench.json"


def test_what_is_not_there_cannot_go_on(tmp_path: Path) -> None:
    for out in (None, tmp_path, tmp_path / "absent"):
        with pytest.raises(OrderError, match=r"bench\.json"):
            bench_folder(out, resume=True)


def test_the_account_is_json_that_tells_what_was_found_out_before(bench: Path) -> None:
    told = json.loads((bench / "bench.json").read_text(encoding="utf-8"))
    assert (
        told["variants"]["moe"]["active_parameters"] < told["variants"]["moe"]["total_parameters"]
    )
    assert told["idle"]["power_w"] is None
    assert told["rate_losses_nats"]["dense"] == [
        {"learning_rate": 0.001, "loss": 2.0},
        {"learning_rate": 0.003, "loss": None},
    ]
    assert told["notices"] == ["Mind this."]
