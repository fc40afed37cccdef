"""Laws of a run folder that fails: full, read-only, deleted, or on a disk that does not answer."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

import greenai

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Training = Any

pytestmark = pytest.mark.slow

SIZE_KB = 1024


@contextlib.contextmanager
def mounted(place: Path, *options: str) -> Iterator[Path]:
    """A file system of its own at a place; skips where none may be mounted."""
    place.mkdir()
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield place
    finally:
        for _ in range(100):  # the sampler may still close its files
            if subprocess.run(["umount", str(place)], capture_output=True, check=False).returncode:
                time.sleep(0.1)
            else:
                break


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    options = ("-t", "tmpfs", "-o", f"size={SIZE_KB}k", "none")
    with mounted(tmp_path / "disk", *options) as place:
        yield place


def ended_well(training: Any, reference: str) -> dict[str, Any]:
    assert training.code() == 0, training.log
    result = dict(training.result())
    assert result["weights"] == reference
    assert result["changed"] == {}
    assert result["stop_s"] < 2.0  # 200 ms and what a busy machine adds
    return result


def test_a_disk_that_is_full_for_a_while_loses_nothing(
    train: Callable[..., Training], reference: str, small_disk: Path
) -> None:
    training = train(folder=small_disk / "run", step_s=0.15)
    training.started()
    time.sleep(1.5)
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb") as filler:
        filler.write(b"x" * SIZE_KB * 1024)
    time.sleep(2.5)
    (small_disk / "filler").unlink()
    ended_well(training, reference)
    assert "The disk refuses the record" in training.log
    training.gone()
    run = greenai.load(training.folder)
    summary = run.summary()
    attempt = run.record.attempts[0]
    assert summary["steps"] == 40, (attempt.events, attempt.problems, training.log)
    assert summary["ended"] == "stopped"
    assert "disk_refused" in {event["what"] for event in attempt.events}
    assert run.steps()["energy_j"].notna().sum() >= 30


def test_on_a_disk_that_stays_full_what_was_written_before_counts(
    train: Callable[..., Training], reference: str, small_disk: Path
) -> None:
    training = train(folder=small_disk / "run", step_s=0.12)
    training.started()
    time.sleep(2.5)
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb") as filler:
        filler.write(b"x" * SIZE_KB * 1024)
    ended_well(training, reference)
    training.gone()
    run = greenai.load(training.folder, partial=True)
    assert 0 < run.summary()["steps"] < 40
    assert run.summary()["ended"] == "unknown"


def test_a_folder_that_becomes_read_only_stops_the_record_and_nothing_else(
    train: Callable[..., Training], reference: str, small_disk: Path
) -> None:
    training = train(folder=small_disk / "run", step_s=0.12)
    sampler = training.started()
    time.sleep(2.5)
    # A file that is open for writing would keep the disk from becoming read-only.
    for path in small_disk.rglob("*.frames"):
        subprocess.run(["chattr", "+i", str(path)], capture_output=True, check=False)
    subprocess.run(["mount", "-o", "remount,ro,size=1k", "none", str(small_disk)],
                   capture_output=True, check=False)  # fmt: skip
    assert sampler.is_running()
    ended_well(training, reference)


def test_a_folder_that_is_read_only_from_the_start_is_an_error_before_training(
    train: Callable[..., Training], small_disk: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    training = train(folder=small_disk / "run")
    assert training.code() == 1
    assert "hint: give a folder on a disk that has room and that you may write to" in training.log


def test_a_folder_that_is_deleted_while_it_is_written_is_said_to_be_gone(
    train: Callable[..., Training], reference: str
) -> None:
    training = train(step_s=0.1)
    training.started()
    time.sleep(1.0)
    shutil.rmtree(training.folder)
    ended_well(training, reference)
    training.gone()
    assert "The disk refuses the record" in training.log
    assert not list(training.place.glob("run/rank-0/*/readings.frames"))


@pytest.fixture
def freezing_disk(tmp_path: Path) -> Iterator[Path]:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(16 * 2**20)
    made = subprocess.run(["mkfs.ext4", "-q", str(image)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("no ext4 can be made here")
    with mounted(tmp_path / "disk", "-o", "loop", str(image)) as place:
        yield place


def test_a_disk_that_stops_answering_holds_up_the_sampler_alone(
    train: Callable[..., Training], reference: str, freezing_disk: Path
) -> None:
    training = train(folder=freezing_disk / "run", step_s=0.08)
    training.started()
    time.sleep(1.0)
    subprocess.run(["fsfreeze", "-f", str(freezing_disk)], check=True)
    try:
        ended_well(training, reference)
    finally:
        subprocess.run(["fsfreeze", "-u", str(freezing_disk)], check=True)
    training.gone()
    run = greenai.load(training.folder)
    assert run.summary()["steps"] == 40
    assert os.path.exists(training.folder / "steps.csv")  # noqa: PTH110 - said plainly
