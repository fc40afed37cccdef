"""A small fleet on disk: runs that ended, one that runs, one that was killed early, one broken."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import greenai

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDED = Path(__file__).parents[1] / "fixtures" / "record-v1"


@pytest.fixture(scope="session")
def recorded_summary() -> dict[str, Any]:
    return greenai.load(RECORDED).summary()


@pytest.fixture
def make_run(tmp_path: Path, recorded_summary: dict[str, Any]) -> Callable[..., Path]:
    """Put a recorded run below ``tmp_path/runs``, with a summary of the facts given."""

    def make(name: str, summary: bool = True, **facts: Any) -> Path:
        folder = tmp_path / "runs" / name
        shutil.copytree(RECORDED, folder)
        if summary:
            (folder / "summary.json").write_text(json.dumps({**recorded_summary, **facts}))
        return folder

    return make


@pytest.fixture
def root(make_run: Callable[..., Path], tmp_path: Path) -> Path:
    make_run("dense-0", variant="dense", j_per_token=0.02)
    make_run("deep/moe-0", variant="moe", j_per_token=0.03)
    make_run("deep/moe-1", variant="moe", j_per_token=0.01, ended="parent_died")
    unfinished = make_run("running", summary=False)
    (unfinished / "manifest.json").unlink()  # rank 0 has not written it yet
    stale = make_run("stale", energy_j=1.0)
    os.utime(stale / "summary.json", (1, 1))
    broken = make_run("broken", summary=False)
    (broken / "manifest.json").write_text("{")
    (tmp_path / "runs" / "notes").mkdir()
    return tmp_path / "runs"
