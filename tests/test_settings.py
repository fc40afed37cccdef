"""Laws of settings: argument before environment before file; nonsense is refused at the desk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from greenai.errors import GreenAIError, GridError, OrderError, SensorError
from greenai.settings import resolve

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> dict[str, str]:
    file = tmp_path / "site.toml"
    file.write_text('project = "from file"\ncountry = "FRA"\npue = 1.3\nmetrics_port = 9100\n')
    return {"GREENAI_CONFIG": str(file), "GREENAI_PUE": "1.2", "GREENAI_METRICS_PORT": "9200"}


def test_argument_before_environment_before_file_before_default(site: dict[str, str]) -> None:
    settings = resolve(site, metrics_port=9300)
    assert (settings.metrics_port, settings.pue, settings.country) == (9300, 1.2, "FRA")
    assert dict(settings.origins) | {} == {
        **settings.origins,
        "metrics_port": "argument",
        "pue": "environment",
        "country": "file",
        "region": "default",
    }


def test_lists_and_flags_come_from_text() -> None:
    settings = resolve({"GREENAI_SENSORS": "rapl, nvml", "GREENAI_RESUME": "true"})
    assert settings.sensors == ("rapl", "nvml")
    assert settings.resume is True


def test_an_empty_variable_is_not_given() -> None:
    assert resolve({"GREENAI_PUE": ""}).pue is None


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"metrics_port": -1}, OrderError, "metrics_port is -1"),
        ({"metrics_port": 70_000}, OrderError, "70000"),
        ({"metrics_port": 80.5}, OrderError, "80.5"),
        ({"pue": 0.8}, OrderError, "PUE is 0.8"),
        ({"pue": -1}, OrderError, "PUE is -1"),
        ({"pue": "much"}, OrderError, "no number"),
        ({"pue": float("nan")}, OrderError, "no number"),
        ({"sensors": ["sundial"]}, SensorError, "sundial"),
        ({"country": "FRANCE"}, GridError, "FRA"),
        ({"country": "FRA", "region": "bretagn"}, GridError, "bretagn"),
        ({"warmup_s": -1}, OrderError, "warmup_s"),
        ({"project": 5}, OrderError, "project"),
        ({"folder": ""}, OrderError, "folder"),
        ({"resume": "perhaps"}, OrderError, "resume"),
        ({"budget_kwh": 0}, OrderError, "budget_kwh is 0"),
        ({"budget_kg": "much"}, OrderError, "no number"),
        ({"total_steps": -1}, OrderError, "total_steps is -1"),
        ({"price_per_kwh": -0.1}, OrderError, "price_per_kwh is -0.1"),
        ({"intensity_file": "/nowhere/grid.csv"}, GridError, "grid.csv"),
        ({"colour": "green"}, OrderError, "colour"),
    ],
)
def test_nonsense_is_refused_with_its_value(
    arguments: dict[str, Any], error: type[GreenAIError], says: str
) -> None:
    with pytest.raises(error, match=says):
        resolve({}, **arguments)


@pytest.mark.parametrize("text", ["colour = 'green'", "pue =", "\xff"])
def test_a_bad_file_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "site.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(OrderError, match=r"site\.toml"):
        resolve({"GREENAI_CONFIG": str(file)})


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(OrderError, match="nowhere"):
        resolve({"GREENAI_CONFIG": "/nowhere/site.toml"})


def test_the_folder_is_filled_in_and_stays_below_itself() -> None:
    settings = resolve({}, folder="out/{project}/{job_id}", project="../../secret")
    assert str(settings.run_folder({"SLURM_JOB_ID": "7"})) == "out/-..-secret/7"


def test_an_unknown_field_of_the_folder_is_refused() -> None:
    with pytest.raises(OrderError, match="filled in"):
        resolve({}, folder="out/{user}").run_folder({})


def test_an_intensity_may_be_foretold_and_its_path_is_made_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "grid.csv").write_text("start_utc,end_utc,g_per_kwh\n2200-01-01,2200-01-02,50\n")
    monkeypatch.chdir(tmp_path)
    settings = resolve({"GREENAI_INTENSITY_FILE": "grid.csv"})
    assert settings.intensity_file == str(tmp_path / "grid.csv")  # the sampler is elsewhere
