"""Laws of the feed: a viewer that was away, or comes late, sees what all others see."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from simulation.growing import GrowingRun

from greenai.exporters.figures import Figures
from greenai.exporters.live_file import figures_to_json
from greenai.exporters.prometheus import registry_of
from greenai.following import feed as feeds
from greenai.following.feed import Feed
from greenai.following.folder import Watch
from greenai.following.nodes import LiveFigures
from greenai.record.documents import plain_json

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

COLUMNS = ("x0", "x1", "low", "mid", "high")


class Viewer:
    """What the page does with events, in Python."""

    def __init__(self, watch: Watch) -> None:
        self.runs: dict[str, Any] = {}
        self.order: list[str] = []
        self.last_id = ""
        self.wholes = 0
        self._watch = watch
        self.reconnect()

    def reconnect(self) -> None:
        self._events = self._watch.feed.events(self.last_id, threading.Event())
        assert next(self._events).startswith(b"retry:")

    def hear(self) -> None:
        for text in next(self._events).decode().split("\n\n"):
            lines = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
            if "data" in lines:
                self.last_id = lines["id"]
                self._take(lines["event"], json.loads(lines["data"]))

    def _take(self, event: str, told: dict[str, Any]) -> None:
        if event == "whole":
            self.wholes += 1
            self.runs = {}
        for key, news in told["runs"].items():
            run = self.runs.setdefault(key, {"curves": {}})
            run["facts"] = news.get("facts", run.get("facts"))
            for name, curve in news.get("curves", {}).items():
                old = run["curves"].get(name, {column: [] for column in COLUMNS})
                run["curves"][name] = {
                    column: old[column][: curve["n"]] + filled(curve)[column] for column in COLUMNS
                }
        self.order = told.get("order", self.order)


def filled(curve: dict[str, Any]) -> dict[str, list[Any]]:
    """What is left out of a curve because it is the same as another column."""
    given = {name: curve[name] for name in COLUMNS if name in curve}
    return {"x0": curve["x1"], "low": curve["mid"], "high": curve["mid"], **given}


def shown(watch: Watch) -> dict[str, Any]:
    state = watch.state()["runs"]
    return {
        key: {"facts": run["facts"], "curves": {n: filled(c) for n, c in run["curves"].items()}}
        for key, run in state.items()
    }


def test_all_viewers_see_the_same_whenever_they_came_or_were_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greenai.following.folder.SCAN_S", 0.0)
    monkeypatch.setattr(feeds, "QUIET_S", 0.01)
    monkeypatch.setattr("greenai.following.run.Decimated.__init__.__defaults__", (40,))
    watch = Watch(tmp_path)
    viewers = [Viewer(watch)]
    runs = [GrowingRun(tmp_path / name, run_id=name) for name in ("one", "two")]
    for second in range(14):
        for run in runs:
            if not run.done:
                run.grow()
        while watch.update():
            pass
        if second in {3, 9}:
            viewers.append(Viewer(watch))
        if second == 8:
            viewers[0].reconnect()
        for place, viewer in enumerate(viewers):
            if (place, second) not in {(0, 5), (0, 6), (0, 7)}:  # away, with its last id
                viewer.hear()
                assert json.loads(json.dumps(viewer.runs)) == shown(watch), (place, second)
    assert [viewer.wholes for viewer in viewers] == [1, 1, 1]
    assert len(viewers[0].runs) == 2


def test_one_who_was_away_for_long_gets_all_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "CHANGES_KEPT", 3)
    feed, closing = Feed(lambda: {"all": True}), threading.Event()
    feed._changes = feeds.deque(maxlen=3)
    feed.publish({"n": 0})
    early = feed.events("", closing)
    next(early)
    seen = next(early)
    last_id = seen.split(b"id: ")[1].split(b"\n")[0].decode()
    for number in range(5):
        feed.publish({"n": number})
    late = feed.events(last_id, closing)
    next(late)
    assert next(late).startswith(b"event: whole")
    soon = feed.events(f"{last_id.partition('-')[0]}-4", closing)
    next(soon)
    assert next(soon).count(b"event: change") == 2
    foreign = feed.events("1f-2", closing)
    next(foreign)
    assert next(foreign).startswith(b"event: whole")


def test_an_update_is_made_once_however_many_listen() -> None:
    made = []
    feed = Feed(lambda: {"made": made.append(1)})
    streams = [feed.events("", threading.Event()) for _ in range(10)]
    for stream in streams:
        next(stream)
    assert len({id(next(stream)) for stream in streams}) == 1
    assert len(made) == 1


def write_live(attempt: Path, figures: Figures, *, closed: bool = False) -> None:
    attempt.mkdir(parents=True, exist_ok=True)
    plain = {
        "written_utc_ns": time.time_ns(),
        "closed": closed,
        "figures": figures_to_json(figures),
    }
    (attempt / "live.json").write_text(json.dumps(plain_json(plain)))


def test_each_live_run_is_scraped_once_and_a_dead_one_disappears(tmp_path: Path) -> None:
    now_s = [0.0]
    live = LiveFigures(clock=lambda: now_s[0])
    runs = [tmp_path / name for name in ("a", "b", "old", "junk")]
    for run in runs:
        write_live(run / "rank-0" / "attempt-x", Figures(run_id=run.name, attempt=0, steps=1.0))
    long_ago = time.time() - 3600
    os.utime(runs[2] / "rank-0" / "attempt-x" / "live.json", (long_ago, long_ago))
    (runs[3] / "rank-0" / "attempt-x" / "live.json").write_text('{"figures": 7}')
    live.find(runs)
    assert sorted(one.run_id for one in live.collect()) == ["a", "b"]
    registry = registry_of(live.collect)
    labels = {"run_id": "a", "attempt": "0", "rank": "0"}
    assert registry.get_sample_value("greenai_optimizer_steps_total", labels) == 1.0
    now_s[0] += 10.0
    write_live(runs[0] / "rank-0" / "attempt-x", Figures(run_id="a", attempt=0, steps=22.0))
    now_s[0] += 10.0
    assert [one.run_id for one in live.collect()] == ["a"]
    write_live(runs[0] / "rank-0" / "attempt-x", Figures(run_id="a", attempt=0), closed=True)
    assert live.collect() == []
    write_live(runs[2] / "rank-0" / "attempt-x", Figures(run_id="old", attempt=0))
    live.find(runs)
    assert [one.run_id for one in live.collect()] == ["old"]
