"""Laws of neighbours: a run sees other runs on its host, and never itself or what is gone."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

import greenai
from greenai.live import neighbours

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="abstract names of sockets are Linux's"
)


def test_a_run_sees_another_one_as_long_as_it_lives() -> None:
    before = neighbours.others("mine")
    own, other = neighbours.announce("mine"), neighbours.announce("another")
    assert own is not None
    assert other is not None
    with own:
        with other:
            assert neighbours.others("mine") == before + 1
        assert neighbours.others("mine") == before
    assert neighbours.others("mine", proc="/nonexistent") == 0


OTHER = """
import sys
import greenai
with greenai.track(sys.argv[1], sensors=[]) as tracker:
    tracker.step()
    sys.stdin.read()
"""


@pytest.mark.slow
def test_two_runs_on_one_host_are_both_marked_shared(tmp_path: Path) -> None:
    """Given two trainings at once, when both have stopped, both records say it."""
    command = [sys.executable, "-c", OTHER, str(tmp_path / "b")]
    with (
        greenai.track(tmp_path / "a", sensors=[]) as tracker,
        subprocess.Popen(command, stdin=subprocess.PIPE) as other,
    ):
        tracker.step()
        until = time.monotonic() + 30
        seen = False
        while not seen and time.monotonic() < until:
            time.sleep(0.2)
            seen = all(
                any(
                    "shared" in path.read_text() for path in (tmp_path / name).rglob("events.jsonl")
                )
                for name in ("a", "b")
            )
        other.communicate()
    for name in ("a", "b"):
        notices = greenai.load(tmp_path / name).notices
        assert any(notice.startswith("shared: another run was metered") for notice in notices)
