"""Figures as JSON and back: what live.json carries for endpoints and pages in other processes."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from greenai.exporters.figures import Bounds, DeviceFigures, Figures, StepHistogram
from greenai.metrics import BY_NAME, PHASES
from greenai.record.documents import plain_json, read_json, refuse
from greenai.sensors.base import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VERSION = 1
"""Of the form; a reader refuses every other one."""
BYTES_MAX = 256 * 1024
TEXT_MAX = 200
DEVICES_MAX = 256
EXPERTS_MAX = 256
"""More experts are not shown one by one."""
NAMED_MAX = 64
BUCKETS_MAX = 64
COUNT_MAX = 2**53
NUMBER_MAX = 1e300
EXEMPLAR_PARTS = 3

_GROWING = {
    "steps",
    "batches",
    "samples",
    "tokens",
    "flops",
    "emissions_g",
    "embodied_g",
    "overhead_cpu_s",
}
"""Numbers that a counter is made of: never negative."""
_BOUNDS = ("forecast_energy_j", "forecast_emissions_g", "forecast_cost")
_HISTOGRAMS = ("step_energy_j", "step_duration_s")


def _fields(of: type, like: str) -> tuple[str, ...]:
    """Names of the fields that are annotated so."""
    return tuple(one.name for one in dataclasses.fields(of) if one.type == like)


_NUMBERS = _fields(Figures, "float | None")
_TEXTS = _fields(Figures, "str")
_DEVICE_NUMBERS = _fields(DeviceFigures, "float | None")
_DEVICE_TEXTS = _fields(DeviceFigures, "str")


class Live(NamedTuple):
    """One live.json as it was last written.

    Attributes:
        figures: What it shows.
        written_utc_ns: When, by the clock of the host that wrote it.
        closed: Whether the sampler has read for the last time.
    """

    figures: Figures
    written_utc_ns: int
    closed: bool


def read_live(path: Path) -> Live:
    """Read a live.json, which may come from anywhere.

    Args:
        path: The file, ``<run>/rank-R/attempt-<launch_id>/live.json``.

    Returns:
        Its figures, and when they were written.

    Raises:
        RecordError: It is missing, damaged, too large, or of another version.
    """
    plain = read_json(path, BYTES_MAX)
    written = plain.get("written_utc_ns")
    if type(written) is not int or not 0 <= written < 2**63:
        refuse(path, "its written_utc_ns is no time")
    figures = figures_from_json(plain.get("figures"), path)
    return Live(figures, written, plain.get("closed") is True)


def figures_to_json(figures: Figures) -> dict[str, Any]:
    """Make plain values of figures, from which ``figures_from_json`` makes the same figures.

    An unknown number becomes null; texts are cut to 200 characters. With 8 GPUs it takes some
    12 kB.

    Example:
        >>> from pathlib import Path
        >>> figures = Figures(run_id="demo", attempt=0, tokens=512.0)
        >>> figures_from_json(figures_to_json(figures), Path("live.json")) == figures
        True
    """
    plain: dict[str, Any] = {"version": VERSION, "attempt": figures.attempt, "rank": figures.rank}
    plain |= {name: _known(getattr(figures, name)) for name in _NUMBERS}
    plain |= {name: _cut(getattr(figures, name)) for name in _TEXTS}
    plain["info"] = {name: _cut(text) for name, text in figures.info.items()}
    for name in ("host_energy_j", "errors"):
        named = list(getattr(figures, name).items())[:NAMED_MAX]
        plain[name] = {_cut(key): _known(value) for key, value in named}
    plain["router_load"] = [_known(one) for one in figures.router_load[:EXPERTS_MAX]]
    for name in _BOUNDS:
        bounds = getattr(figures, name)
        plain[name] = None if bounds is None else [_known(one) for one in bounds]
    for name in _HISTOGRAMS:
        histogram = getattr(figures, name)
        plain[name] = None if histogram is None else plain_json(histogram.to_json())
    plain["devices"] = [_device_to_json(one) for one in figures.devices[:DEVICES_MAX]]
    return plain


def figures_from_json(plain: object, path: Path) -> Figures:
    """Rebuild figures; keys of a later version of the same form are passed over.

    Args:
        plain: What ``figures_to_json`` made; anything else is refused.
        path: Where it comes from, for the error.

    Returns:
        The figures; an unknown number is None.

    Raises:
        RecordError: It is no figures, or of another version.
    """
    reader = _Reader(path)
    whole = reader.mapping(plain, "its figures", math.inf)
    if whole.get("version") != VERSION:
        refuse(path, f"its figures have version {str(whole.get('version'))[:20]}, not {VERSION}")
    info = reader.mapping(whole.get("info"), "info", NAMED_MAX)
    known = BY_NAME["greenai_run_info"].labels
    values: dict[str, Any] = {name: reader.text(whole, name) for name in _TEXTS}
    for name in _NUMBERS:
        values[name] = reader.number(whole.get(name), name, growing=name in _GROWING)
    for name in _BOUNDS:
        values[name] = reader.bounds(whole.get(name), name)
    for name in _HISTOGRAMS:
        values[name] = reader.histogram(whole.get(name), name)
    loads = reader.sequence(whole.get("router_load"), EXPERTS_MAX)
    return Figures(
        attempt=reader.count(whole, "attempt"),
        rank=reader.count(whole, "rank"),
        info={name: reader.text(info, name) for name in info if name in known},
        devices=tuple(map(reader.device, reader.sequence(whole.get("devices"), DEVICES_MAX))),
        router_load=tuple(reader.number(one, "router_load", growing=True) for one in loads),
        host_energy_j=reader.named(whole, "host_energy_j"),
        errors=reader.named(whole, "errors"),
        **values,
    )


def _device_to_json(device: DeviceFigures) -> dict[str, Any]:
    phases = {phase: _known(energy_j) for phase, energy_j in device.energy_j_by_phase.items()}
    return {
        **{name: _cut(getattr(device, name)) for name in _DEVICE_TEXTS},
        **{name: _known(getattr(device, name)) for name in _DEVICE_NUMBERS},
        "energy_j_by_phase": phases,
    }


def _known(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _cut(text: str) -> str:
    """At most as long as a label is, and valid Unicode."""
    return text[:TEXT_MAX].encode(errors="backslashreplace").decode()[:TEXT_MAX]


class _Reader:
    """Checks plain values of one file; whatever is not as we write it is a RecordError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def mapping(self, plain: object, name: str, size_max: float) -> Mapping[str, Any]:
        """A JSON object with text keys."""
        if not isinstance(plain, dict) or len(plain) > size_max:
            refuse(self._path, f"{name} is no object, or too large")
        if not all(isinstance(key, str) and len(key) <= TEXT_MAX for key in plain):
            refuse(self._path, f"{name} has a key that is too long")
        return plain

    def sequence(self, plain: object, size_max: int) -> list[Any]:
        """A list that is not too long."""
        if not isinstance(plain, list) or len(plain) > size_max:
            refuse(self._path, f"a list of its figures is none, or has more than {size_max} items")
        return plain

    def count(self, whole: Mapping[str, Any], name: str) -> int:
        """A whole number from 0."""
        value = whole.get(name)
        if type(value) is not int or not 0 <= value < COUNT_MAX:
            refuse(self._path, f"its {name} is no number from 0")
        return value

    def text(self, whole: Mapping[str, Any], name: str) -> str:
        """A text that is not too long."""
        value = whole.get(name)
        if not isinstance(value, str) or len(value) > TEXT_MAX:
            refuse(self._path, f"its {name} is no text of at most {TEXT_MAX} characters")
        return value

    def number(self, value: Any, name: str, *, growing: bool = False) -> float | None:
        """A finite number, or None where it is unknown."""
        if value is None:
            return None
        if type(value) not in {int, float} or not -NUMBER_MAX < value < NUMBER_MAX:
            refuse(self._path, f"its {name} is no number")
        if growing and value < 0:
            refuse(self._path, f"its {name} is negative")
        return float(value)

    def named(self, whole: Mapping[str, Any], name: str) -> dict[str, float]:
        """Numbers by name; what is unknown is left out."""
        found = self.mapping(whole.get(name), name, NAMED_MAX)
        numbers = {key: self.number(value, name, growing=True) for key, value in found.items()}
        return {key: value for key, value in numbers.items() if value is not None}

    def bounds(self, plain: object, name: str) -> Bounds | None:
        """Three numbers, or None."""
        if plain is None:
            return None
        three = [self.number(one, name) for one in self.sequence(plain, len(Bounds._fields))]
        if len(three) != len(Bounds._fields):
            refuse(self._path, f"its {name} is no interval")
        return Bounds(*(math.nan if one is None else one for one in three))

    def device(self, plain: object) -> DeviceFigures:
        """One device."""
        whole = self.mapping(plain, "a device", math.inf)
        phases = self.mapping(whole.get("energy_j_by_phase"), "energy_j_by_phase", len(PHASES))
        if whole.get("kind") not in KINDS or not set(phases) <= set(PHASES):
            refuse(self._path, "a device has a kind or a phase that there is not")
        energies = {
            phase: self.number(value, "energy", growing=True) for phase, value in phases.items()
        }
        values: dict[str, Any] = {name: self.text(whole, name) for name in _DEVICE_TEXTS}
        for name in _DEVICE_NUMBERS:
            values[name] = self.number(whole.get(name), name)
        return DeviceFigures(
            energy_j_by_phase={key: value for key, value in energies.items() if value is not None},
            **values,
        )

    def histogram(self, plain: object, name: str) -> StepHistogram | None:
        """A histogram, or None."""
        if plain is None:
            return None
        whole = self.mapping(plain, name, BUCKETS_MAX)
        uppers = [self.number(one, name) for one in self.sequence(whole.get("uppers"), BUCKETS_MAX)]
        counts = self.sequence(whole.get("counts"), BUCKETS_MAX + 1)
        exemplars = self.sequence(whole.get("exemplars"), BUCKETS_MAX + 1)
        total = self.number(whole.get("sum"), name, growing=True)
        if (
            None in uppers
            or uppers != sorted(set(uppers))  # type: ignore[type-var] # no None, as asked before
            or not len(uppers) + 1 == len(counts) == len(exemplars)
            or not all(type(one) is int and 0 <= one < COUNT_MAX for one in counts)
            or total is None
        ):
            refuse(self._path, f"its {name} is no histogram")
        return StepHistogram.from_parts(
            uppers,  # type: ignore[arg-type] # no None, as asked above
            list(counts),
            total,
            [self.exemplar(one, name) for one in exemplars],
        )

    def exemplar(self, plain: object, name: str) -> tuple[float, int, float] | None:
        """Value, step and Unix time, or None."""
        if plain is None:
            return None
        three = self.sequence(plain, EXEMPLAR_PARTS)
        whole = len(three) == EXEMPLAR_PARTS and type(three[1]) is int
        if not whole or not 0 <= three[1] < COUNT_MAX:
            refuse(self._path, f"an exemplar of {name} is none")
        value = self.number(three[0], name, growing=True)
        unix_s = self.number(three[2], name, growing=True)
        if value is None or unix_s is None:
            refuse(self._path, f"an exemplar of {name} is none")
        return value, three[1], unix_s
