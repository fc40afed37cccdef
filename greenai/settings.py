"""Settings of a run: argument before environment before file before default, each checked here."""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import math
import os
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenai import grid, sensors
from greenai.errors import OrderError
from greenai.outlets import Outlets, outlets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEFAULT_FOLDER = "runs/{date}"
PORT_MAX = 65_535
RANKS_MAX = 2**31
TEXT_MAX = 200


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """What a run is told; every field may also come from ``GREENAI_<NAME>`` or the TOML file.

    Attributes:
        folder: Run folder; ``{project}``, ``{variant}``, ``{job_id}`` and ``{date}`` are filled in.
        project: What the run belongs to; a key of the manifest and of every summary.
        variant: What is compared: repeats of one thing share it.
        country: ISO 3166 alpha-3 code of the grid; None takes the world average, and says so.
        region: State, province or zone of that country.
        pue: Power usage effectiveness of the site; None leaves emissions to the IT energy.
        pue_source: Where it comes from, with its year.
        intensity_table: Table of yearly intensities: ``newest``, ``codecarbon`` or ``ember``.
        sensors: Names of the sensors to use; None tries all.
        devices: UUIDs of the GPUs that the run uses; None takes the visible ones.
        metrics_port: Port of the Prometheus endpoint; None serves none, 0 takes any free one.
        metrics_address: Address of the endpoint.
        metrics: Other ways out, and who may read the endpoint; see `greenai.outlets.Outlets`.
        warmup_s: Seconds of training at the start that comparisons leave out.
        resume: Whether to join the run that the folder already holds.
        intensity_file: CSV of carbon intensity over time, which may foretell; live emissions then
            take the intensity of the time of use. The record keeps the file's name alone.
        total_steps: Optimizer steps of the whole run, for a forecast of its end; None is unknown.
        budget_kwh: IT energy that the run was given, in kWh: shown, and it stops nothing.
        budget_kg: Operational emissions that the run was given, in kg CO2e, likewise.
        price_per_kwh: Price of a kWh, for a forecast in money.
        currency: Of the price.
        codecarbon_check: Whether CodeCarbon's own tracker runs beside, to compare.
        watch: Whether a page that shows the run is served beside, on this machine alone.
        data_parallel_rank: Number of the group of ranks that shares one batch; None is unknown.
        parent: Folder or id of the run whose weights this one begins with.
        origins: Where each value came from: ``argument``, ``environment``, ``file``, ``default``.
    """

    folder: str = DEFAULT_FOLDER
    project: str = ""
    variant: str = ""
    country: str | None = None
    region: str | None = None
    pue: float | None = None
    pue_source: str = ""
    intensity_table: str = grid.NEWEST
    sensors: tuple[str, ...] | None = None
    devices: tuple[str, ...] | None = None
    metrics_port: int | None = None
    metrics_address: str = "127.0.0.1"
    metrics: Outlets = dataclasses.field(default_factory=Outlets)
    warmup_s: float = 0.0
    resume: bool = False
    intensity_file: str | None = None
    total_steps: float | None = None
    budget_kwh: float | None = None
    budget_kg: float | None = None
    price_per_kwh: float | None = None
    currency: str = ""
    codecarbon_check: bool = False
    watch: bool = False
    data_parallel_rank: int | None = None
    parent: str | None = None
    origins: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def metrics_url(self, port: int) -> str:
        """Address of ``/metrics`` at a port, as a client writes it."""
        host = self.metrics_address
        return f"{self.metrics.scheme}://{f'[{host}]' if ':' in host else host}:{port}/metrics"

    def run_folder(self, environment: Mapping[str, str] = os.environ, date: str = "") -> Path:
        """Fill in the folder's template.

        Args:
            environment: Names the job.
            date: What all ranks of a launch take for ``{date}``; empty is the time of now.

        Raises:
            OrderError: The template names something else than the four fields.

        Example:
            >>> Settings(folder="runs/{project}/{job_id}", project="demo").run_folder({})
            PosixPath('runs/demo/local')
        """
        job_id = environment.get("SLURM_JOB_ID") or environment.get("TORCHELASTIC_RUN_ID")
        fields = {
            "project": _as_folder(self.project) or "default",
            "variant": _as_folder(self.variant) or "default",
            "job_id": _as_folder(job_id or "") or "local",
            "date": date or time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()),
        }
        try:
            return Path(self.folder.format_map(fields)).expanduser()
        except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
            raise OrderError(
                f"The run folder {self.folder!r} cannot be filled in: {error!r}.",
                "Nothing would be recorded.",
                "use {project}, {variant}, {job_id} and {date}; double other braces",
            ) from None


def resolve(environment: Mapping[str, str] = os.environ, **arguments: Any) -> Settings:
    """Settle every setting and check it, before anything is started.

    Args:
        environment: Variables ``GREENAI_*``; ``GREENAI_CONFIG`` names a TOML file.
        **arguments: Fields of Settings; None means not given.

    Returns:
        Settings with the origin of every value.

    Raises:
        OrderError: A name is unknown or a value is out of range.
        SensorError: A sensor is unknown.
        GridError: A country or a region is unknown.

    Example:
        >>> settings = resolve({"GREENAI_PUE": "1.2"}, project="demo")
        >>> settings.pue, settings.origins["pue"], settings.origins["project"]
        (1.2, 'environment', 'argument')
    """
    names = [field.name for field in dataclasses.fields(Settings) if field.name != "origins"]
    unknown = sorted(set(arguments) - set(names))
    if unknown:
        raise OrderError(f"Unknown setting {unknown[0]!r}.", hint=f"use {', '.join(names)}")
    from_file = _file_values(environment.get("GREENAI_CONFIG"), names)
    values: dict[str, Any] = {
        "metrics": outlets(arguments.get("metrics"), environment, from_file.get("metrics"))
    }
    origins: dict[str, str] = {}
    for name in names:
        if name == "metrics":  # many values with an origin each, and none is kept in the record
            continue
        variable = environment.get(f"GREENAI_{name.upper()}")
        for origin, raw in (
            ("argument", arguments.get(name)),
            ("environment", variable if variable != "" else None),
            ("file", from_file.get(name)),
        ):
            if raw is not None:
                values[name] = _CHECKS[name](raw, name)
                origins[name] = origin
                break
        else:
            origins[name] = "default"
    settings = Settings(**values, origins=origins)
    settings.run_folder(environment)
    _check_access(settings, environment)
    grid.check(settings.country, settings.region, settings.intensity_table)
    if settings.sensors is not None:
        sensors.check_names(settings.sensors)
    return settings


def _check_access(settings: Settings, environment: Mapping[str, str]) -> None:
    """Refuse, before a start, what the sampler could only refuse unseen."""
    if settings.metrics_port is None:
        return
    from greenai.exporters.access import Access, token_of  # noqa: PLC0415 - few runs serve

    access = Access(token=token_of(environment), insecure=settings.metrics.insecure)
    access.check_address(settings.metrics_address)
    # The certificate is read again by the sampler; here a wrong one is an error at once.
    dataclasses.replace(
        access, certfile=settings.metrics.certfile, keyfile=settings.metrics.keyfile
    ).tls()


def _file_values(path: str | None, names: list[str]) -> dict[str, Any]:
    if not path:
        return {}
    try:
        values = tomllib.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OrderError(
            f"The settings file {path} (GREENAI_CONFIG) cannot be read: {error}.",
            "The run would go on with other settings than the site's.",
            "mend the file or unset GREENAI_CONFIG",
        ) from None
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise OrderError(
            f"The settings file {path} has an unknown key {unknown[0]!r}.",
            hint=f"use {', '.join(names)}",
        )
    return values


def _text(raw: Any, name: str) -> str:
    text = str(raw)
    if not isinstance(raw, str) or "\0" in text or len(text) > TEXT_MAX or not _is_unicode(text):
        raise OrderError(
            f"{name} is {text[:80]!r}, of {len(text)} characters.",
            hint=f"give a text of at most {TEXT_MAX} characters that UTF-8 can write",
        )
    return text


def _is_unicode(text: str) -> bool:
    """Whether it can be written as UTF-8: half of a surrogate pair cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _path(raw: Any, name: str) -> str:
    if not isinstance(raw, str | os.PathLike) or "\0" in str(raw) or not str(raw):
        raise OrderError(f"{name} is {raw!r}.", hint="give the path of a folder")
    return str(raw)


def _number(raw: Any, name: str) -> float:
    try:
        value = math.nan if isinstance(raw, bool) else float(raw)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise OrderError(f"{name} is {raw!r}, which is no number.", hint=f"give {name} a number")
    return value


def _pue(raw: Any, name: str) -> float:
    value = _number(raw, name)
    if value < 1:
        raise OrderError(
            f"PUE is {value:g}.",
            "A site cannot draw less than its computers do; emissions would come out too small.",
            "give facility energy divided by IT energy, at least 1",
        )
    return value


def _above_zero(raw: Any, name: str) -> float:
    value = _number(raw, name)
    if value <= 0:
        raise OrderError(f"{name} is {value:g}.", hint=f"give {name} a number above 0")
    return value


def _price(raw: Any, name: str) -> float:
    value = _number(raw, name)
    if value < 0:
        raise OrderError(f"{name} is {value:g}.", hint="give a price of at least 0")
    return value


def _intensity_file(raw: Any, name: str) -> str:
    """Check the file at the desk: the sampler, which uses it, can only leave the figures out."""
    from greenai.emitted import read_foretelling  # noqa: PLC0415 - loads numpy

    path = _path(raw, name)
    read_foretelling(path)
    return str(Path(path).expanduser().absolute())


def _table(raw: Any, name: str) -> str:
    """A table of ours by name: a path of the user's has no place in a record."""
    text, known = _text(raw, name), (grid.NEWEST, *grid.TABLES)
    if text not in known:
        near = difflib.get_close_matches(text, known, n=1)
        raise OrderError(
            f"{name} is {text[:80]!r}.",
            "A record names no file of its user's; a table of your own is given when a run is "
            "looked at.",
            (f"did you mean {near[0]}? " if near else "")
            + f"Use {', '.join(known)}, or greenai report RUN --intensity-table FILE.csv",
        )
    return text


def _seconds(raw: Any, name: str) -> float:
    value = _number(raw, name)
    if value < 0:
        raise OrderError(f"{name} is {value:g}.", hint="give seconds, at least 0")
    return value


def _rank(raw: Any, name: str) -> int:
    value = _number(raw, name)
    if value != int(value) or not 0 <= value < RANKS_MAX:
        raise OrderError(f"{name} is {raw!r}.", hint="give the number of a rank, at least 0")
    return int(value)


def _port(raw: Any, name: str) -> int:
    value = _number(raw, name)
    if value != int(value) or not 0 <= value <= PORT_MAX:
        raise OrderError(f"{name} is {raw!r}.", hint=f"give a port from 0 (any) to {PORT_MAX}")
    return int(value)


def _address(raw: Any, name: str) -> str:
    text = _text(raw, name)
    if text == "localhost":
        return text
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise OrderError(
            f"{name} is {text!r}, which is no address.",
            hint="give an address of this machine: 127.0.0.1, or 0.0.0.0 for all of them",
        ) from None


def _words(raw: Any, name: str) -> tuple[str, ...]:
    parts = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise OrderError(f"{name} is {raw!r}.", hint="give a list of names")
    return tuple(part.strip() for part in parts if part.strip())


def _flag(raw: Any, name: str) -> bool:
    if isinstance(raw, bool):
        return raw
    known = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if str(raw).lower() not in known:
        raise OrderError(f"{name} is {raw!r}.", hint="give true or false")
    return known[str(raw).lower()]


def _as_folder(text: str) -> str:
    """Make one path component of free text: no separators, no leading dot."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)[:80].lstrip(".")


_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "folder": _path,
    "project": _text,
    "variant": _text,
    "country": _text,
    "region": _text,
    "pue": _pue,
    "pue_source": _text,
    "intensity_table": _table,
    "sensors": _words,
    "devices": _words,
    "metrics_port": _port,
    "metrics_address": _address,
    "warmup_s": _seconds,
    "resume": _flag,
    "intensity_file": _intensity_file,
    "total_steps": _above_zero,
    "budget_kwh": _above_zero,
    "budget_kg": _above_zero,
    "price_per_kwh": _price,
    "currency": _text,
    "codecarbon_check": _flag,
    "watch": _flag,
    "data_parallel_rank": _rank,
    "parent": _path,
}
