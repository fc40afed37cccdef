"""What a user calls: track, load, compare; record and analysis joined, and files written."""

from __future__ import annotations

import contextlib
import os
import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenai.callbacks.plain import PlainTracker
from greenai.errors import ComparisonError
from greenai.estimating import estimate
from greenai.live.active import phase, step, stop
from greenai.settings import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from greenai.analysis.compare import Comparison
    from greenai.analysis.impacts import Factors
    from greenai.analysis.intensity import IntensitySeries
    from greenai.analysis.lens import Lens
    from greenai.analysis.scaling import Scaling
    from greenai.live.hook import StepHook
    from greenai.run import Run

__all__ = [
    "Run",
    "compare",
    "estimate",
    "load",
    "phase",
    "scaling",
    "step",
    "stop",
    "track",
    "write_comparison",
    "write_derived",
]

StrPath = str | os.PathLike[str]


def __getattr__(name: str) -> object:
    """Load Run on first use: it needs pandas, and track must not."""
    if name == "Run":
        from greenai.run import Run  # noqa: PLC0415 - loads pandas

        return Run
    raise AttributeError(f"module 'greenai.api' has no attribute {name!r}")


def track(
    folder: StrPath | None = None,
    *,
    variant: str | None = None,
    project: str | None = None,
    country: str | None = None,
    region: str | None = None,
    pue: float | None = None,
    pue_source: str | None = None,
    intensity_table: str | None = None,
    sensors: Iterable[str] | None = None,
    devices: Iterable[str] | None = None,
    metrics_port: int | None = None,
    metrics_address: str | None = None,
    metrics: Mapping[str, Any] | None = None,
    warmup_s: float | None = None,
    resume: bool | None = None,
    total_steps: float | None = None,
    budget_kwh: float | None = None,
    budget_kg: float | None = None,
    intensity_file: StrPath | None = None,
    price_per_kwh: float | None = None,
    currency: str | None = None,
    codecarbon_check: bool | None = None,
    watch: bool | None = None,
    data_parallel_rank: int | None = None,
    parent: StrPath | None = None,
    config: Mapping[str, Any] | None = None,
) -> PlainTracker:
    """Meter a plain training loop.

    Every argument may also come from ``GREENAI_<NAME>`` or the TOML file that
    ``GREENAI_CONFIG`` names; the argument goes first.

    Args:
        folder: Run folder; ``{project}``, ``{variant}``, ``{job_id}`` and ``{date}`` are filled
            in. One that holds a run already gets a sibling, nothing is overwritten.
        variant: What is compared: repeats of one thing share it.
        project: What the run belongs to.
        country: ISO 3166 alpha-3 code of the grid; without it the world average is used.
        region: State, province or zone of that country.
        pue: Power usage effectiveness of the site, at least 1.
        pue_source: Where that comes from, with its year.
        intensity_table: ``newest``, ``codecarbon`` or ``ember``: where the grid's factor is from.
        sensors: Names of the sensors to use; all where None.
        devices: UUIDs of the GPUs that the run uses; the visible ones where None.
        metrics_port: Port of the Prometheus endpoint; none is served where None.
        metrics_address: Address of the endpoint; loopback where None.
        metrics: Other ways out of live figures, and who may read the endpoint, by name:
            `docs/prometheus.md` lists them.
        warmup_s: Seconds of training at the start that comparisons leave out.
        resume: Whether to join the run that the folder already holds.
        total_steps: Optimizer steps of the whole run; its end is then foreseen as it goes.
        budget_kwh: IT energy that the run was given, to be shown beside; it stops nothing.
        budget_kg: Operational emissions that it was given, likewise.
        intensity_file: CSV of ``start_utc``, ``end_utc`` and ``g_per_kwh`` (hours to come too),
            by whose intensity at the time of use live emissions are counted.
        price_per_kwh: Price of a kWh, for a forecast in money.
        currency: Of the price.
        codecarbon_check: Whether CodeCarbon's own tracker runs beside, in a process of its own,
            to compare; takes its package, and some CPU time at the lowest priority.
        watch: Whether a page that shows the run as it goes is served on this machine, by a process
            beside the sampler that ends with it; the page's address is logged once.
        data_parallel_rank: Which ranks share one batch: those of one tensor- or pipeline-parallel
            group have the same number, and their tokens and samples count once.
        parent: Folder or id of the run whose weights this one begins with (fine-tuning): its
            energy is kept with the record, and reported together with this run's.
        config: Facts to keep with the record. Comparisons read ``repeat`` or ``seed`` (which
            pairs runs), ``position`` (place in the order), ``idle_power_w``, ``tokenizer`` and
            ``flops_per_token_active``.

    Returns:
        A tracker: use it in a ``with`` block, as a decorator, or call ``start`` and ``stop``.

    Raises:
        GreenAIError: A setting is out of range or unknown.

    Example:
        >>> import tempfile
        >>> with track(tempfile.mkdtemp() + "/run", sensors=[]) as tracker:
        ...     for batch in ([1, 2, 3], [4, 5]):
        ...         tracker.step(tokens=len(batch))
    """
    settings = resolve(
        folder=folder,
        variant=variant,
        project=project,
        country=country,
        region=region,
        pue=pue,
        pue_source=pue_source,
        intensity_table=intensity_table,
        sensors=sensors if sensors is None or isinstance(sensors, str) else list(sensors),
        devices=devices if devices is None or isinstance(devices, str) else list(devices),
        metrics_port=metrics_port,
        metrics_address=metrics_address,
        metrics=metrics,
        warmup_s=warmup_s,
        resume=resume,
        total_steps=total_steps,
        budget_kwh=budget_kwh,
        budget_kg=budget_kg,
        intensity_file=intensity_file,
        price_per_kwh=price_per_kwh,
        currency=currency,
        codecarbon_check=codecarbon_check,
        watch=watch,
        data_parallel_rank=data_parallel_rank,
        parent=parent,
    )
    return PlainTracker(settings, config=config, find_hook=_gpu_clock)


def _gpu_clock() -> StepHook | None:
    """What knows the GPU of a plain loop; None while the loop has used none through torch."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    from greenai.callbacks.gpu_clock import clock_in_use  # noqa: PLC0415 - loads torch

    return clock_in_use()


def load(
    path: StrPath,
    *,
    partial: bool = False,
    country: str | None = None,
    region: str | None = None,
    pue: float | None = None,
    pue_source: str | None = None,
    intensity: IntensitySeries | None = None,
    intensity_table: str | Path | None = None,
    factors: Factors | None = None,
) -> Run:
    """Read a run, live or finished, whole or killed.

    Args:
        path: Run folder, or the URL of one, such as ``s3://bucket/runs/dense``.
        partial: Whether to take what lies before a damaged frame.
        country: Country of the grid, instead of the recorded one.
        region: Region of it.
        pue: Power usage effectiveness, instead of the recorded one.
        pue_source: Where that comes from, with its year.
        intensity: Intensity that changes with time, as from ``read_intensity``; the record is not
            changed by it.
        intensity_table: ``newest``, ``codecarbon``, ``ember`` or a CSV of yearly intensities,
            instead of the recorded table.
        factors: What no record holds, such as a price; unknown where left out.

    Returns:
        The run with its tables, totals and emissions.

    Raises:
        RecordError: The folder holds no run, or a damaged one.
        GridError: The country or the region is unknown.
    """
    from greenai.fleet.places import at_hand  # noqa: PLC0415 - tracking needs no places
    from greenai.record.reader import open_record  # noqa: PLC0415 - loads pyarrow
    from greenai.run import Run  # noqa: PLC0415 - loads pandas

    with contextlib.ExitStack() as stack:
        record = open_record(stack.enter_context(at_hand(path)), partial=partial)
        run = Run(
            record, country=country, region=region, pue=pue, pue_source=pue_source,
            intensity=intensity, intensity_table=intensity_table, factors=factors,
        )  # fmt: skip
        weakref.finalize(run, stack.pop_all().close)  # a copy of a URL's run lives as long as it
    return run


def compare(
    runs: Iterable[StrPath | Run],
    *,
    baseline: str,
    per: str = "token",
    across_devices: bool = False,
) -> Comparison:
    """Compare variants by their energy and time for the same amount of work.

    Args:
        runs: Run folders, patterns of them (``runs/dense-*``), folders that hold runs, or loaded
            runs.
        baseline: Variant that the others are compared with.
        per: ``token``, ``sample``, ``step``, ``flop`` or ``active_flop``; or a loss to be
            reached, as ``loss:2.5``.
        across_devices: Whether runs on unlike devices may be compared.

    Returns:
        Ratios with 95 % intervals and verdicts.

    Raises:
        ComparisonError: The runs cannot be compared so; it says what is possible.
        RecordError: A run cannot be read.
    """
    from greenai.analysis.compare import compare as compare_figures  # noqa: PLC0415 - numpy

    figures = [run.figures() for run in _loaded(runs)]
    return compare_figures(figures, baseline, per, across_devices=across_devices)


def scaling(runs: Iterable[StrPath | Run], *, across_devices: bool = False) -> Scaling:
    """Fit how loss falls with energy, tokens and active parameters over runs of several sizes.

    Args:
        runs: As for ``compare``. Active parameters are the config's ``active_parameters``.
        across_devices: Whether runs on unlike devices may be fitted together.

    Returns:
        Power laws with 95 % intervals; ``energy_to(loss)`` says what a loss would cost.

    Raises:
        ComparisonError: Fewer than four sizes are known of every quantity, or devices are unlike.
        RecordError: A run cannot be read.
    """
    from greenai.analysis.scaling import scaling as fit_runs  # noqa: PLC0415 - numpy
    from greenai.lens import sized_runs  # noqa: PLC0415 - loads pandas

    return fit_runs(sized_runs(_loaded(runs)), across_devices=across_devices)


def _loaded(runs: Iterable[StrPath | Run]) -> list[Run]:
    """Load the runs that are named and pass on those that are loaded."""
    from greenai.run import Run  # noqa: PLC0415 - loads pandas

    loaded: list[Run] = []
    for run in runs:
        if isinstance(run, Run):
            loaded.append(run)
        else:
            loaded.extend(load(folder) for folder in run_folders(run))
    return loaded


def run_folders(pattern: StrPath) -> list[Path]:
    """Run folders that a path means: itself, the runs in it, or those that a pattern matches.

    Raises:
        ComparisonError: There are none.
    """
    path = Path(pattern)
    if "://" in str(pattern):
        raise ComparisonError(
            f"{pattern} is a URL.",
            "Patterns and folders of runs are looked up on this machine only.",
            "load each run: greenai.compare([greenai.load(url), ...], baseline=...)",
        )
    if any(sign in str(pattern) for sign in "*?[") and not path.exists():
        root = Path(path.anchor or ".")
        matches = sorted(root.glob(str(path.relative_to(path.anchor) if path.anchor else path)))
        found = [match for match in matches if _is_run(match)]
    elif path.is_dir() and not _is_run(path):
        found = sorted(inner for inner in path.iterdir() if _is_run(inner))
    else:
        return [path]
    if not found:
        raise ComparisonError(
            f"No run lies at {pattern}.",
            "There is nothing to compare.",
            "name run folders, or a folder that holds some",
        )
    return found


def _is_run(path: Path) -> bool:
    return (path / "manifest.json").is_file()


def write_derived(run_folder: Path) -> None:
    """Write the files that are computed from the record, beside it."""
    from greenai.exporters.report_html import write_report  # noqa: PLC0415 - loads pandas
    from greenai.exporters.tables import export  # noqa: PLC0415 - loads pandas

    run = load(run_folder, partial=True)
    export(run, run_folder, ("csv", "parquet", "json"))
    write_report(run, run_folder / "report.html")


def write_comparison(
    comparison: Comparison, folder: Path, design: str = "", lens: Lens | None = None
) -> None:
    """Write comparison.json, comparison.csv and comparison.html into a folder."""
    from greenai.exporters.comparison_html import write_comparison_page  # noqa: PLC0415 - heavy
    from greenai.exporters.tables import export_comparison  # noqa: PLC0415 - loads pandas

    export_comparison(comparison, folder)
    write_comparison_page(comparison, folder / "comparison.html", design, lens=lens)
