"""Laws of the Lightning callback, against a tracker that only keeps what it is told."""

from __future__ import annotations

import copy
import itertools
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from greenai.callbacks import EnergyMonitor
from greenai.errors import GreenAIError, GridError, OrderError, RecordError, SensorError
from greenai.live.shared import Totals

STEP = ["begin data_wait", "end data_wait", "step"]


def monitor(**arguments: Any) -> Any:
    return EnergyMonitor("run", **{"print_summary": False, **arguments})


def weights(model: Any) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_training_is_the_same_to_the_bit_with_and_without(bench: Any, trackers: Any) -> None:
    def train(*callbacks: Any) -> list[torch.Tensor]:
        torch.manual_seed(11)
        model = bench.model()
        model.layer = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.Dropout(), torch.nn.Linear(8, 1)
        )
        loader = DataLoader(torch.randn(32, 4), batch_size=4, shuffle=True)
        bench.trainer(*callbacks, max_epochs=3, accumulate_grad_batches=2).fit(
            model, loader, loader
        )
        return weights(model)

    assert same(train(monitor(tokens=7, flops_per_token=3.0)), train())
    assert len(trackers[0].steps) == 12


class Broken:
    """Raises whatever is called, and whichever attribute is read."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


@pytest.mark.parametrize("works_until", [0, 1, 2, 3, 7])
def test_a_tracker_that_raises_everywhere_changes_no_training(
    bench: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    works_until: int,
) -> None:
    calls = itertools.count()

    class Failing:
        def __init__(self, *_: Any, **__: Any) -> None:
            self.run_id, self.run_folder = "x", Path("x")

        def __getattr__(self, name: str) -> Any:
            def fail(*_: Any, **__: Any) -> Any:
                if next(calls) >= works_until:
                    raise RuntimeError(f"no {name}")
                return self

            return fail

    monkeypatch.setattr("greenai.callbacks.trainers.Tracker", Failing)
    plain = weights(bench.fit())
    with caplog.at_level(logging.WARNING, "greenai"):
        assert same(weights(bench.fit(monitor())), plain)
    said = [one for one in caplog.records if "metering has failed" in one.getMessage()]
    assert len(said) == 1


def test_a_broken_tracker_class_changes_no_training(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greenai.callbacks.trainers.Tracker", Broken())
    plain = weights(bench.fit())
    assert same(weights(bench.fit(monitor())), plain)


def test_each_batch_is_waited_for_and_closes_a_step(
    tree: Any, bench_of: Any, tmp_path: Path, trackers: Any
) -> None:
    bench_of(tree, tmp_path).fit(monitor(), batches=2)
    (tracker,) = trackers
    assert tracker.names == ["start", "train_start", *STEP, *STEP, "stop"]
    assert [step["index"] for step in tracker.steps] == [0, 1]
    assert [step["epoch"] for step in tracker.steps] == [0, 0]
    assert tracker.facts["framework"].startswith(tree.__name__.partition(".")[0] + " 2.")


def test_accumulated_batches_are_one_step_and_the_last_group_may_be_short(
    bench: Any, trackers: Any
) -> None:
    """Given 5 batches of 3 samples, 2 to a step, when trained, there are 3 steps."""
    bench.fit(monitor(tokens=10), accumulate_grad_batches=2)
    steps = trackers[0].steps
    assert [step["batches"] for step in steps] == [2, 2, 1]
    assert [step["samples"] for step in steps] == [6, 6, 3]
    assert [step["tokens"] for step in steps] == [20, 20, 10]
    assert [step["index"] for step in steps] == [0, 1, 2]


def test_the_loss_of_a_step_is_the_mean_over_its_batches(bench: Any, trackers: Any) -> None:
    seen: list[float] = []
    model = bench.model()
    training_step = model.training_step

    def spy(batch: Any, batch_idx: int) -> Any:
        loss = training_step(batch, batch_idx)
        seen.append(float(loss.detach()))
        return loss

    model.training_step = spy
    bench.fit(monitor(), model=model, accumulate_grad_batches=2)
    expected = [(seen[0] + seen[1]) / 2, (seen[2] + seen[3]) / 2, seen[4]]
    assert [step["loss"] for step in trackers[0].steps] == pytest.approx(expected, rel=1e-6)


def test_batches_after_the_last_step_are_in_no_step(bench: Any, trackers: Any) -> None:
    class Stop(bench.tree.Callback):  # type: ignore[misc] # lightning is not followed
        def on_train_batch_end(
            self, trainer: Any, _m: Any, _o: Any, _b: Any, batch_idx: int
        ) -> None:
            trainer.should_stop = batch_idx == 2

    bench.fit(monitor(), Stop(), batches=8, accumulate_grad_batches=2)
    assert [step["batches"] for step in trackers[0].steps] == [2]


def test_validation_is_cut_out_and_the_sanity_check_is_setup(bench: Any, trackers: Any) -> None:
    trainer = bench.trainer(monitor(), num_sanity_val_steps=2, val_check_interval=1)
    trainer.fit(bench.model(), bench.data(2), bench.data(1))
    first_wait = ["begin data_wait", "end data_wait"]  # it ends as soon as validation begins
    validation = ["begin validation", "end validation"]
    assert trackers[0].names == [
        "start",
        "train_start",
        *STEP,
        *first_wait,
        *validation,
        *STEP,
        *validation,
        "stop",
    ]


def test_a_checkpoint_lasts_until_the_next_hook(bench: Any, trackers: Any) -> None:
    saving = bench.tree.callbacks.ModelCheckpoint(
        bench.folder / "saved", every_n_train_steps=1, save_top_k=-1
    )
    bench.fit(monitor(), saving, batches=2, enable_checkpointing=True)
    wait, checkpoint = STEP[:2], ["begin checkpoint", "end checkpoint"]
    assert trackers[0].names == [
        "start",
        "train_start",
        *STEP,
        *wait,  # the callback that saves comes after ours
        *checkpoint,
        "step",
        *checkpoint,
        "stop",
    ]


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_a_stage_alone_is_a_phase(bench: Any, trackers: Any, stage: str) -> None:
    getattr(bench.trainer(monitor()), stage)(bench.model(), bench.data())
    phase = "validation" if stage == "validate" else stage
    assert trackers[0].names == ["start", f"begin {phase}", f"end {phase}", "stop"]


def test_a_later_stage_continues_the_run_and_its_launch(bench: Any, trackers: Any) -> None:
    callback, model = monitor(), bench.model()
    trainer = bench.trainer(callback)
    trainer.fit(model, bench.data())
    trainer.test(model, bench.data(), verbose=False)
    bench.trainer(callback).test(model, bench.data(), verbose=False)
    first, *later = trackers
    for tracker in later:
        assert tracker.facts["resume_run_id"] == first.run_id
        assert tracker.launch is first.launch
        assert tracker.run_folder == first.run_folder


def test_another_fit_of_the_same_trainer_goes_on_counting(bench: Any, trackers: Any) -> None:
    callback, model = monitor(), bench.model()
    trainer = bench.trainer(callback, max_epochs=1)
    trainer.fit(model, bench.data(2))
    trainer.fit_loop.max_epochs = 2
    trainer.fit(model, bench.data(2))
    assert [step["index"] for tracker in trackers for step in tracker.steps] == [0, 1, 2, 3]
    assert trackers[1].run_id == trackers[0].run_id


def test_a_fit_of_another_trainer_is_another_run(bench: Any, trackers: Any) -> None:
    callback = monitor()
    for _ in range(2):
        bench.fit(callback, batches=2)
    assert [step["index"] for step in trackers[1].steps] == [0, 1]
    assert trackers[1].facts["resume_run_id"] is None
    assert trackers[1].run_id != trackers[0].run_id


def test_a_restored_checkpoint_continues_its_run_at_its_step(bench: Any, trackers: Any) -> None:
    callback, model = monitor(), bench.model()
    trainer = bench.trainer(callback)
    trainer.fit(model, bench.data(3))
    trainer.save_checkpoint(bench.folder / "saved.ckpt")
    resumed = bench.trainer(monitor(), max_epochs=2)
    resumed.fit(bench.model(), bench.data(3), ckpt_path=bench.folder / "saved.ckpt")
    first, second = trackers
    assert second.facts["resume_run_id"] == first.run_id
    assert [step["index"] for step in second.steps] == [3, 4, 5]
    assert second.calls[1] == ("resumed_from", first.run_id, 3)
    assert second.names[2] == "train_start"


def test_a_checkpoint_of_another_training_gives_its_step_and_no_run(
    bench: Any, trackers: Any
) -> None:
    trainer = bench.trainer()
    trainer.fit(bench.model(), bench.data(3))
    trainer.save_checkpoint(bench.folder / "saved.ckpt")
    resumed = bench.trainer(monitor(), max_epochs=2)
    resumed.fit(bench.model(), bench.data(3), ckpt_path=bench.folder / "saved.ckpt")
    assert trackers[0].facts["resume_run_id"] is None
    assert [step["index"] for step in trackers[0].steps] == [3, 4, 5]


@pytest.mark.parametrize(
    "state",
    [{}, {"run_id": "../x", "step": 1}, {"run_id": 3, "step": 1}, {"run_id": "a" * 500, "step": 1}],
)
def test_a_state_from_elsewhere_is_not_believed(state: dict[str, Any]) -> None:
    callback = monitor()
    callback._place.waits = True
    callback.load_state_dict(state)
    assert callback._place.restored is None


def test_the_checkpoint_holds_plain_values_under_one_key(bench: Any, trackers: Any) -> None:
    trainer = bench.trainer(monitor(variant="a"))
    trainer.fit(bench.model(), bench.data(3))
    trainer.save_checkpoint(bench.folder / "saved.ckpt")
    saved = torch.load(bench.folder / "saved.ckpt", weights_only=True)["callbacks"]
    assert saved == {"greenai.EnergyMonitor": {"run_id": trackers[0].run_id, "step": 3}}


class Interrupt(torch.nn.Module):  # type: ignore[misc] # torch is not followed
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def forward(self, _: Any) -> Any:
        raise self.error


@pytest.mark.parametrize("error", [ValueError("bug"), KeyboardInterrupt(), SystemExit(3)])
def test_an_exception_ends_the_record_and_passes(
    bench: Any, trackers: Any, error: BaseException
) -> None:
    model = bench.model()
    model.later = Interrupt(error)
    seen = itertools.count()
    training_step = model.training_step
    model.training_step = lambda batch, batch_idx: (
        training_step(batch, batch_idx) if next(seen) < 2 else model.later(batch)
    )
    expected = SystemExit if isinstance(error, KeyboardInterrupt) else type(error)
    with pytest.raises(expected):
        bench.fit(monitor(), model=model)
    assert len(trackers[0].steps) == 2
    assert trackers[0].names[-1] == "stop"
    assert trackers[0].names.count("stop") == 1


def test_two_optimizers_make_one_step_of_a_batch(bench: Any, trackers: Any) -> None:
    class Gan(bench.tree.LightningModule):  # type: ignore[misc] # lightning is not followed
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = False
            self.one, self.other = torch.nn.Linear(4, 4), torch.nn.Linear(4, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            for optimizer in self.optimizers():
                loss = self.other(self.one(batch)).square().mean()
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
            return {"loss": loss} if batch_idx else None

        def configure_optimizers(self) -> Any:
            return [torch.optim.SGD(part.parameters(), lr=0.1) for part in (self.one, self.other)]

    bench.fit(monitor(), model=Gan(), batches=3)
    steps = trackers[0].steps
    assert [step["index"] for step in steps] == [0, 1, 2]
    assert [step["batches"] for step in steps] == [1, 1, 1]
    assert [step["loss"] is None for step in steps] == [True, False, False]


def test_what_a_batch_does_not_tell_is_unknown(bench: Any, trackers: Any) -> None:
    model = bench.model()
    training_step = model.training_step
    model.training_step = lambda batch, batch_idx: training_step(batch.x, batch_idx)

    class Opaque:
        def __init__(self, x: torch.Tensor) -> None:
            self.x = x

        def to(self, *_: Any, **__: Any) -> Opaque:
            return self

    loader = DataLoader([Opaque(torch.ones(2, 4))] * 2, batch_size=None)
    bench.trainer(monitor(flops_per_token=6.0)).fit(model, loader)
    for step in trackers[0].steps:
        assert step["tokens"] is step["samples"] is step["flops"] is None


def test_what_the_user_counts_goes_before_what_is_found(bench: Any, trackers: Any) -> None:
    bench.fit(monitor(tokens=len, batch_size=5, flops_per_token=2.0), batches=1)
    (step,) = trackers[0].steps
    assert (step["tokens"], step["samples"], step["flops"]) == (3, 5, 6)


def test_a_users_function_that_fails_costs_its_own_values_alone(
    bench: Any, trackers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def tokens(_: Any) -> int:
        raise KeyError("input_ids")

    bench.fit(monitor(tokens=tokens))
    assert [step["tokens"] for step in trackers[0].steps] == [None] * 5
    assert [step["samples"] for step in trackers[0].steps] == [3] * 5
    assert caplog.text.count("Counting tokens failed") == 1


class Logger:
    """Builds a logger of one Lightning that keeps what it is given."""

    def __new__(cls, tree: Any, *, fails: bool = False) -> Any:
        class Keeping(tree.loggers.logger.Logger):  # type: ignore[misc] # lightning is not followed
            name, version = "keeping", 0
            rows: list[tuple[int, dict[str, float]]] = []  # noqa: RUF012 - one logger a class

            def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
                if any(name.startswith("greenai/") for name in metrics):
                    if fails:
                        raise ConnectionError("the server is gone")
                    self.rows.append((step or 0, metrics))

            def log_hyperparams(self, *_: Any, **__: Any) -> None:
                pass

        return Keeping()


SETTLED = Totals(energy_j=9.0, power_w=3.0, steps_j=8.0, known_tokens=4.0, settled_step=1.0)


class Settling:
    """Gives every tracker of the test figures that are settled."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, totals: Totals) -> None:
        monkeypatch.setattr("greenai.callbacks.lightning.EnergyMonitor.totals", totals)


def test_every_logger_gets_what_is_settled_each_interval(
    bench: Any, trackers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Settling(monkeypatch, SETTLED)
    loggers = [Logger(bench.tree), Logger(bench.tree)]
    bench.fit(monitor(), batches=5, logger=loggers, log_every_n_steps=2)
    known = {
        "greenai/energy_j": 9.0,
        "greenai/power_w": 3.0,
        "greenai/j_per_token": 2.0,
        "greenai/settled_step": 1.0,
    }
    for logger in loggers:
        assert logger.rows == [(1, known), (3, known), (4, known)]
    assert len(trackers) == 1


def test_a_logger_that_fails_hurts_neither_the_training_nor_the_others(
    bench: Any, trackers: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Settling(monkeypatch, SETTLED)
    bad = Logger(bench.tree, fails=True)
    plain = weights(bench.fit())
    assert same(weights(bench.fit(monitor(), logger=bad, log_every_n_steps=1)), plain)
    assert len(trackers[0].steps) == 5
    assert caplog.text.count("the server is gone") == 1


def test_nothing_is_logged_while_nothing_is_settled(bench: Any, trackers: Any) -> None:
    logger = Logger(bench.tree)
    bench.fit(monitor(), logger=logger, log_every_n_steps=1)
    assert logger.rows == []
    assert len(trackers) == 1


def test_logging_may_be_turned_off(
    bench: Any, trackers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Settling(monkeypatch, SETTLED)
    logger = Logger(bench.tree)
    bench.fit(monitor(), logger=logger, log_every_n_steps=0)
    assert logger.rows == []
    assert len(trackers[0].steps) == 5


def test_a_summary_is_printed_where_it_is_wanted(
    bench: Any, trackers: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.fit(monitor(print_summary=True))
    assert "energy unknown" in capsys.readouterr().out
    bench.fit(monitor())
    assert capsys.readouterr().out == ""
    assert len(trackers) == 2


def test_on_a_cpu_no_gpu_is_summed_unless_it_is_named(bench: Any, trackers: Any) -> None:
    bench.fit(monitor())
    bench.fit(monitor(devices=["GPU-1"]))
    assert [tracker.settings.devices for tracker in trackers] == [(), ("GPU-1",)]
    assert trackers[0].settings.origins["devices"] == "trainer"


def test_nothing_is_started_before_setup(trackers: Any) -> None:
    callback = monitor()
    assert trackers == []
    assert callback.run_folder is None
    assert callback.run_id is None
    assert callback.state_dict() == {}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"metrics_port": -1}, OrderError),
        ({"sensors": ["nvlm"]}, SensorError),
        ({"country": "FRN"}, GridError),
        ({"pue": 0.5}, OrderError),
        ({"warmup_s": -1.0}, OrderError),
        ({"tokens": -3}, OrderError),
        ({"tokens": True}, OrderError),
        ({"tokens": "input_ids"}, OrderError),
        ({"batch_size": 0}, OrderError),
        ({"flops_per_token": float("nan")}, OrderError),
        ({"flops_per_token": "many"}, OrderError),
        ({"config": ["a"]}, OrderError),
    ],
)
def test_nonsense_is_refused_at_construction(
    arguments: dict[str, Any], error: type[GreenAIError]
) -> None:
    with pytest.raises(error):
        monitor(**arguments)


def test_a_folder_that_cannot_be_used_is_an_error_before_training(
    bench: Any, trackers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise RecordError("the folder is read-only")

    monkeypatch.setattr("greenai.callbacks.trainers.Tracker", refuse)
    with pytest.raises(RecordError):
        bench.fit(monitor())
    assert trackers == []


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])  # noqa: S301 - its own
def test_a_copy_meters_nothing_yet(bench: Any, trackers: Any, copied: Any) -> None:
    callback = monitor(variant="a", tokens=len)
    bench.fit(callback)
    twin = copied(callback)
    assert twin.settings.variant == "a"
    assert twin.run_id is None
    bench.fit(twin)
    assert [len(tracker.steps) for tracker in trackers] == [5, 5]


def test_data_loader_workers_do_no_harm(bench: Any, trackers: Any) -> None:
    loader = DataLoader(torch.ones(6, 4), batch_size=2, num_workers=1)
    bench.trainer(monitor()).fit(bench.model(), loader)
    assert len(trackers[0].steps) == 3
