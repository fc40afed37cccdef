"""What viewers are told of a followed run: plain values, and only what has changed."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from greenai.errors import RecordError
from greenai.exporters.live_file import figures_from_json
from greenai.exporters.wording import printable
from greenai.metrics import PHASES
from greenai.sensors.base import KINDS

if TYPE_CHECKING:
    from greenai.analysis.decimation import Decimated
    from greenai.exporters.figures import Figures
    from greenai.following.attempt import AttemptFollower
    from greenai.following.run import RunFollower
    from greenai.units import Floats

DIGITS = 6
"""Significant digits of what is drawn; a screen shows four."""
TEXT_MAX = 300
FORECASTS = ("forecast_energy_j", "forecast_emissions_g", "forecast_cost")
_COLUMNS = ("x0", "x1", "low", "mid", "high")


class RunView:
    """A run as viewers know it.

    Args:
        name: What the run is called among its neighbours.
        follower: The run.
    """

    def __init__(self, name: str, follower: RunFollower) -> None:
        self.name = name
        self.follower = follower
        self._facts = ""
        self._points: dict[str, tuple[int, int]] = {}

    def whole(self) -> dict[str, Any]:
        """All of it."""
        curves = {key: _rows(curve, 0) for key, curve in self.follower.curves.items()}
        return {"facts": facts_of(self.name, self.follower), "curves": curves}

    def changes(self) -> dict[str, Any]:
        """What has changed since the last call; empty where nothing has."""
        changed: dict[str, Any] = {}
        facts = facts_of(self.name, self.follower)
        text = json.dumps(facts, sort_keys=True)
        if text != self._facts:
            self._facts = text
            changed["facts"] = facts
        curves = {}
        for key, curve in self.follower.curves.items():
            state = (curve.per_bucket, curve.points)
            per_bucket, points = self._points.get(key, (0, 0))
            if state != (per_bucket, points):
                same = per_bucket == curve.per_bucket
                curves[key] = _rows(curve, points // per_bucket if same else 0)
                self._points[key] = state
        if curves:
            changed["curves"] = curves
        return changed


def facts_of(name: str, follower: RunFollower) -> dict[str, Any]:
    """Everything but the curves, as JSON can hold it; None is unknown."""
    manifest, place = follower.manifest, follower.intensity
    settled_j = follower.settled_j()
    plain = {
        "name": _text(name),
        "run_id": _text(manifest.get("run_id")),
        "project": _text(manifest.get("project")),
        "variant": _text(manifest.get("variant")),
        "started_utc": _text(manifest.get("started_utc")),
        "state": follower.state(),
        "share_read": round(follower.share_read(), 3),
        "totals": follower.totals(),
        "phases": dict(zip(PHASES, settled_j.tolist(), strict=True)),
        "devices": _devices(follower),
        "spans": [[phase, begin, end] for phase, begin, end in follower.spans],
        "events": [_event(event) for event in follower.events],
        "notices": [_text(notice) for notice in follower.notices()],
        "end": _end(follower),
        "place": None
        if place is None
        else {"place": place.place, "source": place.source, "year": place.year},
    }
    known: dict[str, Any] = _known(plain)
    return known


def _devices(follower: RunFollower) -> list[dict[str, Any]]:
    """Devices of the latest attempts, in report order."""
    devices = []
    for one in follower.latest():
        traced = one.traced
        going = not one.ended and not one.closed
        for place, channel in enumerate(traced.channels):
            energy_j = float(traced.settled_j[place])
            power_w = traced.power_w[place] if going else math.nan
            devices.append(
                {
                    "device": _text(channel.device),
                    "rank": one.rank,
                    "kind": channel.kind,
                    "model": _text(channel.model),
                    "method": _text(channel.method),
                    "trust": channel.trust,
                    "power_w": power_w,
                    "energy_j": energy_j if traced.settled_ns is not None else math.nan,
                }
            )
    return sorted(devices, key=lambda one: (one["rank"], KINDS.index(one["kind"])))


def _end(follower: RunFollower) -> dict[str, Any]:
    """What the samplers expect until the end: sums over ranks, unknown where one is."""
    told = [figures for one in follower.latest() if (figures := _figures(one)) is not None]
    if not told or follower.state() != "live":
        return {}
    end: dict[str, Any] = {
        "total_steps": told[0].total_steps,
        "energy_budget_j": told[0].energy_budget_j,
        "emissions_budget_g": told[0].emissions_budget_g,
        "currency": told[0].currency,
    }
    for name in FORECASTS:
        bounds = [getattr(one, name) for one in told]
        if all(one is not None for one in bounds):
            end[name] = [sum(values) for values in zip(*bounds, strict=True)]
    return end


def _figures(one: AttemptFollower) -> Figures | None:
    """Figures of an attempt's live.json; None where it has none that can be read."""
    try:
        return figures_from_json(one.live.get("figures"), one.folder)
    except RecordError:
        return None


def _event(event: dict[str, Any]) -> dict[str, Any]:
    t_s = event["t_s"]
    return {
        "t_s": round(t_s, 2) if math.isfinite(t_s) else math.nan,
        "rank": event["rank"],
        **{key: _text(event.get(key)) for key in ("what", "reason", "device")},
    }


def _rows(curve: Decimated, start: int) -> dict[str, Any]:
    """Buckets of a curve from one on, by column; where the three values are one, the mean alone."""
    rows = curve.rows(start)
    columns = {
        name: _rounded(column, 3 if name[0] == "x" else None)
        for name, column in zip(_COLUMNS, rows.T, strict=True)
    }
    if columns["low"] == columns["high"]:
        del columns["low"], columns["high"]
    if columns["x0"] == columns["x1"]:
        del columns["x0"]
    return {"n": start, "per": curve.per_bucket, **columns}


def _rounded(values: Floats, decimals: int | None) -> list[float | None]:
    """Short numbers; None is unknown."""
    if decimals is not None:
        rounded = np.round(values, decimals)
    else:
        size = np.abs(np.where(np.isfinite(values) & (values != 0), values, 1.0))
        scale = 10.0 ** (DIGITS - 1 - np.floor(np.log10(size)))
        rounded = np.round(values * scale) / scale
    return [one if math.isfinite(one) else None for one in rounded.tolist()]


def _text(value: Any) -> str:
    """A text that prints and is not too long; empty for anything else."""
    return printable(value, TEXT_MAX) if isinstance(value, str) else ""


def _known(value: Any) -> Any:
    """The same with None for what is not known."""
    if isinstance(value, dict):
        return {key: _known(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_known(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
