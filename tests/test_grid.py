"""Laws of the grid tables: forced, each factor is CodeCarbon's; sourced; no place for another."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any

import pytest

from greenai import grid
from greenai.errors import GridError
from greenai.units import G_PER_KWH_PER_LB_PER_MWH

TABLE_VERSION = "3.3.2"
"""Of CodeCarbon, whose figures the table holds."""


def table(name: str = "codecarbon") -> list[dict[str, str]]:
    with grid.TABLES[name].open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


PLACES = [(row["code"], row["region"]) for row in table() if row["code"] != grid.WORLD]


def upstream(name: str) -> Any:
    return json.loads((files("codecarbon") / "data" / "private_infra" / name).read_text("utf-8"))


CLOUD = "gcp:"
"""How the name of a region of Google Cloud begins."""


def upstream_cloud() -> list[dict[str, str]]:
    text = (files("codecarbon") / "data" / "cloud" / "impact.csv").read_text("utf-8-sig")
    return list(csv.DictReader(text.splitlines()))


def upstream_rows() -> dict[tuple[str, str], tuple[float, int | None]]:
    """Build the table's figures and years anew from CodeCarbon's files."""
    world = upstream("carbon_intensity_per_source.json")["world_average"]
    rows: dict[tuple[str, str], tuple[float, int | None]] = {(grid.WORLD, ""): (world, 2018)}
    for code, country in upstream("global_energy_mix.json").items():
        rows[code, ""] = (country["carbon_intensity"], country["year"])
    for state, of_state in upstream("2023/usa_emissions.json").items():
        if not state.startswith("_"):
            rows["USA", state] = (of_state["emissions"] * G_PER_KWH_PER_LB_PER_MWH, 2023)
    combustion = {"coal": 995.725971, "petroleum": 816.6885263, "naturalGas": 743.8415916}
    for province, mix in upstream("2023/canada_energy_mix.json").items():
        g_per_kwh = sum(mix[fuel] / mix["total"] * factor for fuel, factor in combustion.items())
        rows["CAN", province] = (g_per_kwh, 2023)
    for province in upstream("2023/china_provincial_emissions.json")["data"].values():
        rows["CHN", province["names"][0]] = (province["emission_factor"], province["year"])
    countries = {"SE": "SWE", "NO": "NOR", "FI": "FIN"}
    for zone, of_zone in upstream("nordic_emissions.json")["data"].items():
        rows[countries[zone[:2]], zone.lower()] = (of_zone["emission_factor"], of_zone["year"])
    for cloud in upstream_cloud():
        name = cloud["region"].replace("cenrtal", "central")  # a slip of theirs
        rows[cloud["countryIsoCode"], CLOUD + name] = (float(cloud["impact"]), None)
    return rows


@pytest.fixture(scope="module")
def oracle() -> None:
    """Skip where the CodeCarbon that the table was taken from is not installed."""
    try:
        installed = version("codecarbon")
    except PackageNotFoundError:
        installed = "none"
    if installed != TABLE_VERSION:
        pytest.skip(f"the table is CodeCarbon {TABLE_VERSION}'s; installed is {installed}")


@pytest.fixture(scope="module")
def codecarbon_g_per_kwh(oracle: None) -> Any:  # noqa: ARG001  it skips where there is no oracle
    """CodeCarbon's own answer, as g/kWh."""
    from codecarbon.core.emissions import Emissions  # noqa: PLC0415  only where it is installed
    from codecarbon.core.units import Energy  # noqa: PLC0415  only where it is installed
    from codecarbon.external.geography import GeoMetadata  # noqa: PLC0415  only where installed
    from codecarbon.input import DataSource  # noqa: PLC0415  only where it is installed

    emissions = Emissions(DataSource())

    def answer(country: str, region: str | None) -> float:
        place = GeoMetadata(country, region=region)
        return 1000 * float(emissions.get_private_infra_emissions(Energy(1.0), place))

    return answer


@pytest.mark.usefixtures("oracle")
def test_the_table_has_what_codecarbon_has_row_by_row() -> None:
    ours = {
        (row["code"], row["region"]): (
            float(row["intensity_g_per_kwh"]),
            int(row["year"]) if row["year"] else None,
        )
        for row in table()
    }
    theirs = upstream_rows()
    assert ours.keys() == theirs.keys()
    for place, (g_per_kwh, year) in theirs.items():
        assert ours[place][0] == pytest.approx(g_per_kwh, abs=1e-6), place
        assert ours[place][1] == year, place


def test_every_place_has_the_intensity_that_codecarbon_uses(codecarbon_g_per_kwh: Any) -> None:
    for country, region in PLACES:
        if region.startswith(CLOUD):
            continue
        ours = grid.intensity(country, region or None, "codecarbon").g_per_kwh
        assert ours == pytest.approx(codecarbon_g_per_kwh(country, region or None), rel=1e-6)


@pytest.mark.usefixtures("oracle")
def test_every_region_of_a_cloud_has_the_intensity_that_codecarbon_uses() -> None:
    from codecarbon.core.emissions import Emissions  # noqa: PLC0415  only where it is installed
    from codecarbon.core.units import Energy  # noqa: PLC0415  only where it is installed
    from codecarbon.external.geography import CloudMetadata  # noqa: PLC0415  as above
    from codecarbon.input import DataSource  # noqa: PLC0415  only where it is installed

    emissions, clouds = Emissions(DataSource()), upstream_cloud()
    assert len(clouds) == 40
    for cloud in clouds:
        place = CloudMetadata("gcp", cloud["region"])
        theirs = 1000 * float(emissions.get_cloud_emissions(Energy(1.0), place))
        ours = grid.intensity(cloud["countryIsoCode"], CLOUD + cloud["region"])
        assert ours.g_per_kwh == pytest.approx(theirs, rel=1e-6), cloud["region"]


def test_a_region_of_a_cloud_states_that_its_year_and_basis_are_unknown() -> None:
    iowa = grid.intensity("USA", "gcp:us-central1")
    assert (iowa.g_per_kwh, iowa.year, iowa.basis) == (430, None, "unknown")
    assert grid.intensity("QAT", "gcp:me-central1").place == "QAT/gcp:me-central1"


def test_the_world_average_is_what_codecarbon_falls_back_to(codecarbon_g_per_kwh: Any) -> None:
    assert grid.intensity(None).g_per_kwh == pytest.approx(codecarbon_g_per_kwh("ZZZ", None))


@pytest.mark.parametrize("name", grid.TABLES)
def test_every_row_is_sourced_and_possible(name: str) -> None:
    rows = table(name)
    assert len({(row["code"], row["region"]) for row in rows}) == len(rows)
    assert sum(not row["region"] for row in rows) == {"codecarbon": 1 + 213, "ember": 211}[name]
    for row in rows:
        assert 0 < float(row["intensity_g_per_kwh"]) < 1500 or row["code"] == "CAF", row
        is_cloud = row["region"].startswith(CLOUD)
        assert not row["year"] if is_cloud else 2009 <= int(row["year"]) <= 2025, row
        assert row["source"], row
        assert row["licence"], row
        assert row["basis"] in ("direct", "lifecycle", "unknown"), row
        assert row["signal"] == "average", row
        assert row["code"] == row["code"].upper(), row
        assert row["region"] == row["region"].lower(), row


def test_by_default_each_country_has_the_later_year_and_regions_are_kept() -> None:
    changed = 0
    for country, region in PLACES:
        place = (country, region or None)
        newest, first = grid.intensity(*place), grid.intensity(*place, table="codecarbon")
        if newest == first:
            continue
        assert newest == grid.intensity(country, table="ember")
        assert (newest.year or 0) > (first.year or 0)
        assert (newest.basis, newest.signal) == (first.basis, first.signal)
        changed += 1
    assert changed == 174
    assert grid.intensity("USA", "california") == grid.intensity("USA", "ca", "codecarbon")


@pytest.mark.parametrize(
    ("code", "published"),  # as Our World in Data shows them for 2024, to the gram
    [("AUS", 552), ("CAN", 175), ("DEU", 344), ("FRA", 44), ("DNK", 143), ("NLD", 253)],
)
def test_the_newer_table_says_what_its_source_publishes(code: str, published: int) -> None:
    found = grid.intensity(code, table="ember")
    assert (round(found.g_per_kwh), found.year) == (published, 2024)
    assert "Ember" in found.source
    assert found.licence == "CC BY 4.0"


def test_a_table_without_the_place_is_not_replaced_by_another() -> None:
    with pytest.raises(GridError, match="no regions of United States"):
        grid.intensity("USA", "california", "ember")
    with pytest.raises(GridError, match="no world average"):
        grid.intensity(None, table="ember")
    with pytest.raises(GridError, match="did you mean codecarbon"):
        grid.intensity("FRA", table="codecarbn")


def test_the_one_factor_of_zero_says_that_it_is_none() -> None:
    (row,) = (row for row in table() if float(row["intensity_g_per_kwh"]) == 0)
    assert row["code"] == "CAF"
    assert "a gap in the source" in row["source"]


def test_no_name_means_two_regions() -> None:
    names = [
        (row["code"], name)
        for row in table()
        if row["region"]
        for name in (row["region"], *filter(None, row["aliases"].split(";")))
    ]
    assert len(set(names)) == len(names)


def test_without_a_country_the_world_average_is_taken_and_flagged() -> None:
    world = grid.intensity(None)
    assert (world.g_per_kwh, world.is_world_average, world.place) == (475, True, "WLD")
    assert not grid.intensity("FRA").is_world_average


@pytest.mark.parametrize(
    ("country", "region", "place"),
    [
        ("fra", None, "FRA"),
        (" USA ", "California", "USA/california"),
        ("USA", "ca", "USA/california"),
        ("USA", "US-TX", "USA/texas"),
        ("USA", "new  york", "USA/new york"),
        ("CAN", "QC", "CAN/quebec"),
        ("CAN", "Québec", "CAN/quebec"),
        ("CHN", "Inner Mongolia", "CHN/inner mongolia"),
        ("CHN", "CN-SN", "CHN/shaanxi"),
        ("SWE", "SE3", "SWE/se3"),
    ],
)
def test_case_spaces_and_short_codes_do_not_matter(
    country: str, region: str | None, place: str
) -> None:
    assert grid.intensity(country, region).place == place


@pytest.mark.parametrize(
    ("country", "nearest"),
    [
        ("FRANCE", r"FRA \(France\)"),
        ("FR", r"FRA \(France\)"),
        ("UK", r"GBR \(United Kingdom\)"),
        ("Germny", r"DEU \(Germany\)"),
        ("Untied States", r"USA \(United States\)"),
        ("USB", r"USA \(United States\)"),
    ],
)
def test_an_unknown_country_names_the_nearest(country: str, nearest: str) -> None:
    with pytest.raises(GridError, match=nearest):
        grid.intensity(country)


@pytest.mark.parametrize("country", ["", "ZZZZZZZ", "\0", "x" * 10_000, "QQ"])
def test_an_unlikely_country_is_refused_in_few_words(country: str) -> None:
    with pytest.raises(GridError) as caught:
        grid.check(country)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("country", "region", "says"),
    [
        ("USA", "californa", "did you mean california"),
        ("CAN", "", "quebec"),
        ("CHN", "tibet", "use one of anhui"),
        ("PRT", "algarve", "no regions of Portugal"),
        ("WLD", "europe", "no regions"),
        ("DNK", "se3", "no regions of Denmark"),
        (None, "quebec", "without its country"),
    ],
)
def test_an_unknown_region_is_never_its_country(
    country: str | None, region: str, says: str
) -> None:
    with pytest.raises(GridError, match=says):
        grid.intensity(country, region)


def test_an_intensity_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        grid.intensity("FRA").g_per_kwh = 0.0  # type: ignore[misc]  # that is what is tested


def test_the_grid_needs_the_standard_library_alone() -> None:
    code = (
        "import sys; from greenai import grid; grid.intensity('FRA'); "
        "print(sorted({'numpy', 'pandas', 'codecarbon', 'socket', 'ssl'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
