"""Laws of putting a run together: one run, each attempt once, whole or not at all, no links."""

from __future__ import annotations

import itertools
import shutil
import time
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

import greenai
from greenai.cli import app
from greenai.errors import RecordError
from greenai.live.launch import Launch
from greenai.record.gather import gather

if TYPE_CHECKING:
    from pathlib import Path

STEPS = 3


def node(folder: Path, monkeypatch: pytest.MonkeyPatch, rank: int, of: int = 3) -> Path:
    """What the rank of one node writes where the others write elsewhere."""
    for name, value in {
        "TORCHELASTIC_RUN_ID": "exp",
        "GROUP_WORLD_SIZE": str(of),
        "MASTER_ADDR": "node0",
        "MASTER_PORT": "29400",
        "RANK": str(rank),
        "LOCAL_RANK": "0",
        "WORLD_SIZE": str(of),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("greenai.live.launch._RUNS", itertools.count())  # a process of its own
    with greenai.track(folder / f"node{rank}" / "run", sensors=[], variant="dense") as tracker:
        for _ in range(STEPS):
            tracker.step(tokens=10)
    run = folder / f"node{rank}" / "run"
    give_up_s = time.monotonic() + 30
    while not any("stopped" in one.read_text() for one in run.rglob("events.jsonl")):
        assert time.monotonic() < give_up_s
        time.sleep(0.02)
    return run


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nodes")
    with pytest.MonkeyPatch.context() as patch:
        for rank in range(3):
            node(folder, patch, rank)
    return folder


@pytest.fixture
def nodes(written: Path, tmp_path: Path) -> list[Path]:
    """Copies of what three nodes wrote, each without the others."""
    shutil.copytree(written, tmp_path / "nodes")
    return [tmp_path / "nodes" / f"node{rank}" / "run" for rank in range(3)]


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()
    }


def test_nodes_without_a_shared_file_system_are_one_run(nodes: list[Path], tmp_path: Path) -> None:
    """Given what three nodes wrote, in any order they make the same run, of all ranks."""
    assert len({greenai.load(one).run_id for one in nodes}) == 1
    assert "1 of 3 ranks are here; missing: 0, 2." in greenai.load(nodes[1]).notices
    wholes = []
    for number, order in enumerate(itertools.permutations(nodes)):
        gather(order, tmp_path / f"whole{number}")
        wholes.append(files_below(tmp_path / f"whole{number}"))
    assert all(whole == wholes[0] for whole in wholes)
    run = greenai.load(tmp_path / "whole0")
    assert run.summary()["ranks"] == run.summary()["ranks_expected"] == 3
    assert run.steps()["tokens"].tolist() == [30.0] * STEPS
    assert run.variant == "dense"
    assert not list(tmp_path.glob(".whole*"))


def test_the_command_says_what_is_missing(nodes: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "new" / "whole"
    done = CliRunner().invoke(app, ["merge", *map(str, nodes[:2]), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert "2 attempts of 2 ranks" in done.output
    assert "2 of 3 ranks are here; missing: 2." in done.output
    assert len(greenai.load(out).steps()) == STEPS


def test_what_is_no_part_of_one_run_is_refused_and_nothing_is_written(
    nodes: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "whole"
    with greenai.track(tmp_path / "other", sensors=[]) as tracker:
        tracker.step()
    shutil.copytree(nodes[0], tmp_path / "copy")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "full")
    for sources, to, what in (
        ([nodes[0], tmp_path / "other"], out, "are of 2 runs"),
        ([nodes[0], tmp_path / "copy"], out, "are the same attempt of rank 0"),
        ([nodes[0], nodes[0]], out, "are the same attempt of rank 0"),
        ([nodes[0], tmp_path / "full"], out, "holds no run"),
        ([nodes[0], tmp_path / "nowhere"], out, "holds no run"),
        (nodes, tmp_path / "full", "exists already"),
        (nodes, tmp_path / "link", "exists already"),
        (nodes, tmp_path / "full" / "file" / "deeper", "cannot be written"),
    ):
        with pytest.raises(RecordError, match=what):
            gather(sources, to)
    assert not out.exists()
    assert [one.name for one in (tmp_path / "full").iterdir()] == ["file"]


def test_links_are_never_followed(nodes: list[Path], tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("mine")
    (attempt,) = (nodes[1] / "rank-1").iterdir()
    (attempt / "notes.txt").symlink_to(secret)
    with pytest.raises(RecordError, match=r"link|cannot be read"):
        gather(nodes, tmp_path / "whole")
    (attempt / "notes.txt").unlink()
    (nodes[1] / "rank-7").symlink_to(nodes[2] / "rank-2")
    with pytest.raises(RecordError, match="no folder of its own"):
        gather(nodes, tmp_path / "whole")
    assert not (tmp_path / "whole").exists()


def test_an_attempt_that_says_it_is_another_runs_is_refused(
    nodes: list[Path], tmp_path: Path
) -> None:
    (nodes[1] / "rank-1").rename(nodes[1] / "rank-2")
    with pytest.raises(RecordError, match="is of rank 1, not 2"):
        gather(nodes[:2], tmp_path / "whole")


def test_runs_of_one_launch_have_ids_of_their_own(tmp_path: Path) -> None:
    ranks = [Launch("job-0", rank=rank, world_size=2, shared=True) for rank in range(2)]
    first, second = (rank.new_run_id(tmp_path / "a") for rank in ranks)
    assert first != second  # of one process here: its second run
    assert Launch("job-0").new_run_id(tmp_path) != Launch("job-0").new_run_id(tmp_path)
