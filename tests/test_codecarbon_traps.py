"""Laws that CodeCarbon's own accounting breaks; ours must not. Its behaviour is asserted beside."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from simulation.counters import MS, START_NS, SimulatedCounter, a_channel, attempt_of, marks_of

import greenai
from greenai import grid
from greenai.accounts import impacts_of
from greenai.analysis.impacts import Factors, Given
from greenai.analysis.intensity import series_of
from greenai.analysis.spans import Row
from greenai.errors import GridError
from greenai.record.types import NOTE, STEP_END, STOP, Anchor, Record
from greenai.run import Run

RECORDED = Path(__file__).parent / "fixtures" / "record-v1"
S = 1000 * MS
NIGHT = 1_780_000_000 * S


def test_an_unknown_place_is_the_world_and_named_and_never_quebec() -> None:
    """Its online tracker takes Quebec, 3.9 g/kWh, when no service tells where it is."""
    quebec = grid.intensity("CAN", "quebec").g_per_kwh
    world = grid.intensity(None)
    assert world.is_world_average
    assert world.g_per_kwh > 100 * quebec
    manifest = {"run_id": "abc", "variant": "dense", "project": "p", "settings": {}}
    emitted = Run(Record(Path("runs/dense"), manifest, ())).footprint()
    assert emitted.intensity_g_per_kwh == world.g_per_kwh
    assert any("world average of 475 g/kWh" in said for said in emitted.assumptions)


def test_quebec_is_what_codecarbon_takes_when_no_service_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    geography = pytest.importorskip("codecarbon.external.geography")

    def refuses(*_: Any, **__: Any) -> Any:
        raise OSError("no network")

    monkeypatch.setattr(geography, "requests", SimpleNamespace(get=refuses))
    place = geography.GeoMetadata.from_geo_js("http://127.0.0.1:9")
    assert (place.country_iso_code, place.region) == ("CAN", "quebec")


def test_water_of_the_site_is_not_multiplied_by_pue() -> None:
    """It multiplies WUE by energy that contains PUE already."""
    factors = Factors(wue_l_per_kwh=Given(1.8, "a site"))
    lean = impacts_of(greenai.load(RECORDED, pue=1.0), factors)
    lossy = impacts_of(greenai.load(RECORDED, pue=2.0), factors)
    assert lossy.water_on_site_l == lean.water_on_site_l
    assert lossy.location_based_g.mid == pytest.approx(2 * lean.location_based_g.mid)


def test_no_intensity_of_one_moment_is_used_for_the_whole_run() -> None:
    """Without output handlers it asks once, when it stops, for all of the run."""
    start_ns = START_NS + S // 2
    readings = SimulatedCounter(lambda t: 200 * t, refresh_ms=20).readings(
        11, a_channel(refresh_ns=25 * MS)
    )
    rows: list[tuple] = [(start_ns, NOTE, "train_start", 0, 0.0)]
    rows += [(start_ns + n * S, STEP_END, "", n, 2.0) for n in range(1, 10)]
    rows.append((start_ns + 9 * S, STOP, "", 0, 0.0))
    attempt = dataclasses.replace(
        attempt_of([readings], marks_of(rows)), anchors=(Anchor(start_ns, NIGHT, start_ns),)
    )
    thirds = series_of(
        [Row(NIGHT + 3 * k * S, NIGHT + 3 * (k + 1) * S, g) for k, g in enumerate((100, 500, 900))],
        basis="lifecycle", signal="average", source="a service",
    )  # fmt: skip
    manifest = {"run_id": "abc", "variant": "dense", "project": "p", "settings": {}}
    run = Run(Record(Path("runs/dense"), manifest, (attempt,)), intensity=thirds)
    assert run.footprint().intensity_g_per_kwh == pytest.approx(500, rel=5e-3)
    assert run.steps()["intensity_g_per_kwh"].to_list() == [100] * 3 + [500] * 3 + [900] * 3


def test_a_region_that_is_unknown_is_an_error_and_not_its_country() -> None:
    """It logs a line and takes the country's figure."""
    with pytest.raises(GridError, match="Unknown region"):
        grid.intensity("USA", "nowhere")


def test_an_unknown_country_is_an_error_and_not_the_world() -> None:
    """It takes the world's average without a word in the result."""
    with pytest.raises(GridError, match="Unknown country"):
        grid.intensity("ZZZ")
