"""Laws of the loop of one's own: blocks, decorators, notebooks, and runs beside one another."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

import greenai
from greenai.errors import OrderError
from greenai.live import active

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_tracker_left() -> Any:
    yield
    while active.latest() is not None:
        greenai.stop()


def steps_of(folder: Path) -> int:
    return len(greenai.load(folder).steps())


def wait_for_reading(tracker: Any) -> None:
    give_up = time.monotonic() + 10
    while not tracker.totals().power_w > 0 and time.monotonic() < give_up:
        time.sleep(0.01)


def test_each_call_of_a_decorated_function_is_a_run_and_its_value_is_returned(
    tmp_path: Path,
) -> None:
    @greenai.track(tmp_path / "run", sensors=["assumed:x=100"])
    def train(steps: int, *, wait: bool = True) -> int:
        """Train a little."""
        if wait:
            wait_for_reading(active.latest())
        for _ in range(steps):
            greenai.step(tokens=1)
        return steps

    assert train.__doc__ == "Train a little."
    assert (train(2), train(steps=3)) == (2, 3)
    assert (steps_of(tmp_path / "run"), steps_of(tmp_path / "run-2")) == (2, 3)
    assert active.latest() is None


def test_a_decorated_function_within_a_run_belongs_to_that_run(tmp_path: Path) -> None:
    @greenai.track(tmp_path / "inner", sensors=[])
    def part() -> None:
        greenai.step(tokens=1)

    with greenai.track(tmp_path / "outer", sensors=["assumed:x=100"]) as tracker:
        wait_for_reading(tracker)
        part()
        part()
    assert steps_of(tmp_path / "outer") == 2
    assert not (tmp_path / "inner").exists()


def test_an_exception_ends_the_run_of_a_decorated_function(tmp_path: Path) -> None:
    @greenai.track(tmp_path / "run", sensors=[])
    def fail() -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        fail()
    assert active.latest() is None


def test_a_second_run_in_one_process_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    first = greenai.track(tmp_path / "first", sensors=[]).start()
    second = greenai.track(tmp_path / "second", sensors=[])
    with pytest.raises(OrderError, match=r"first[\s\S]*twice[\s\S]*greenai.stop"):
        second.start()
    assert first.active
    assert not (tmp_path / "second").exists()
    greenai.stop()
    assert not first.active
    assert second.start().active  # what was refused had not started


def test_what_works_after_its_call_is_refused_as_a_function(tmp_path: Path) -> None:
    def batches() -> Any:
        yield 1

    async def train() -> None:
        pass

    for function in (batches, train, "train"):
        with pytest.raises(OrderError, match="cannot be metered"):
            greenai.track(tmp_path)(function)  # type: ignore[arg-type] # on purpose


def test_without_a_run_steps_and_stops_do_nothing() -> None:
    greenai.step(tokens=1)
    greenai.stop()


def test_a_notebook_shows_a_run_before_while_and_after_it(tmp_path: Path) -> None:
    tracker = greenai.track(tmp_path / "<b>run", sensors=["assumed:x=100"])
    assert "not started" in tracker._repr_html_()
    tracker.start()
    wait_for_reading(tracker)
    tracker.step(tokens=4)
    assert "W on average" in tracker._repr_markdown_()
    tracker.stop()
    shown = tracker._repr_html_()
    assert "&lt;b&gt;run" in shown
    assert "<b>" not in shown
    assert "J/token in 1 steps" in shown
    assert all(line.startswith("    ") for line in tracker._repr_markdown_().splitlines())
    time.sleep(0.02)
    assert tracker._repr_html_() == shown  # the time stands still


def test_steps_begin_at_start_in_a_notebook(tmp_path: Path) -> None:
    tracker = greenai.track(tmp_path / "run", sensors=["assumed:x=100"]).start()
    wait_for_reading(tracker)
    tracker.step()
    time.sleep(0.1)
    tracker.step()
    tracker.stop()
    phases = greenai.load(tmp_path / "run").phases().set_index("phase")
    assert phases["duration_s"]["setup"] < phases["duration_s"]["train_step"]
