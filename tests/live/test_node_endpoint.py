"""Laws of the endpoint of a node: one serves, and shows what every rank of the host has counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING

import psutil
from prometheus_client.parser import text_string_to_metric_families as parse_text

import greenai

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from greenai.callbacks.plain import PlainTracker

OTHER = """
import sys, time, greenai
with greenai.track(sys.argv[1], metrics_port=0) as tracker:
    for _ in range(5):
        time.sleep(0.02)
        tracker.step(tokens=100)
    print("trained", flush=True)
    sys.stdin.read()
"""


def tokens_by_rank(url: str) -> dict[str, float]:
    with urllib.request.urlopen(url, timeout=5) as answer:
        text = answer.read().decode()
    return {
        sample.labels["rank"]: sample.value
        for metric in parse_text(text)
        for sample in metric.samples
        if sample.name == "greenai_tokens_total"
    }


def test_local_rank_0_serves_for_all_ranks_of_its_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched = {"TORCHELASTIC_RUN_ID": "job", "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "RANK": "1", "LOCAL_RANK": "1"},
    )
    assert other.stdin is not None
    assert other.stdout is not None
    seen: dict[str, float] = {}
    try:
        with greenai.track(tmp_path / "run", sensors=[], metrics_port=0) as tracker:
            assert other.stdout.readline() == "trained\n"
            for _ in range(3):
                tracker.step(tokens=10)
            give_up = time.monotonic() + 30
            while seen != {"0": 30.0, "1": 500.0} and time.monotonic() < give_up:
                time.sleep(0.1)
                if tracker.metrics_url:
                    seen = tokens_by_rank(tracker.metrics_url)
            assert seen == {"0": 30.0, "1": 500.0}
            (path,) = (tmp_path / "run").glob("rank-1/*/live.json")
            assert json.loads(path.read_text())["metrics_port"] is None
    finally:
        other.stdin.close()
        other.wait(30)
        other.stdout.close()


def test_a_sampler_that_is_started_once_more_serves_at_the_same_port(tmp_path: Path) -> None:
    others = set(psutil.Process().children())
    with greenai.track(tmp_path / "run", sensors=[], metrics_port=0) as run:
        first = served(run)
        (sampler,) = set(psutil.Process().children()) - others
        sampler.kill()
        give_up_s = time.monotonic() + 30
        while not is_answered(first) or sampler.is_running():
            assert time.monotonic() < give_up_s
            run.step()  # looks whether the sampler lives
            time.sleep(0.05)
        assert run.metrics_url == first


def served(run: PlainTracker) -> str:
    """Address of the endpoint, as soon as there is one."""
    give_up_s = time.monotonic() + 30
    while run.metrics_url is None:
        assert time.monotonic() < give_up_s
        time.sleep(0.02)
    return run.metrics_url


def is_answered(url: str) -> bool:
    """Whether somebody serves there."""
    try:
        tokens_by_rank(url)
    except OSError:
        return False
    return True
