"""Laws of BoAmps, of the GPAI form and of WeasyPrint: their names, our values, nothing made up."""

from __future__ import annotations

import builtins
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import greenai
from greenai import cli
from greenai.errors import OrderError
from greenai.exporters.boamps import boamps_report
from greenai.exporters.gpai_form import gpai_fields, gpai_json, gpai_markdown, significant
from greenai.exporters.pdf import with_styled_plots, write_pdf
from greenai.exporters.report_html import report_html

TESTS = Path(__file__).parent.parent
RECORDED = TESTS / "fixtures" / "record-v1"
GOLDEN = TESTS / "golden"
SAID: dict[str, Any] = {
    "family": "text generation",
    "infrastructure": "onPremise",
    "published_utc": "2026-11-26T10:00:00.5+00:00",
}

# Names that the schemas of github.com/Boavizta/BoAmps require (model/*.json, January 2026), and the
# words that their enumerations allow; names beyond them are judged by CodeCarbon's class.
REQUIRED = {
    "": ("task", "measures", "infrastructure"),
    "header": ("reportDatetime",),
    "task": ("taskStage", "taskFamily", "algorithms", "dataset"),
    "task/dataset": ("dataUsage", "dataType"),
    "measures": ("measurementMethod", "powerConsumption"),
    "system": ("os",),
    "software": ("language",),
    "infrastructure": ("infraType", "components"),
    "infrastructure/components": ("componentType", "nbComponent"),
    "environment": ("country",),
}
WORDS = {
    "reportStatus": ("draft", "final", "corrective", "other"),
    "dataUsage": ("input", "output"),
    "dataType": ("tabular", "audio", "boolean", "image", "video", "object", "text", "token",
                 "word", "other"),
    "infraType": ("publicCloud", "privateCloud", "onPremise", "other"),
    "quality": ("high", "medium", "low"),
}  # fmt: skip


def recorded(**factors: Any) -> Any:
    return greenai.load(RECORDED, intensity_table="codecarbon", **factors)


def at(report: Any, path: str) -> list[dict[str, Any]]:
    """Objects at a path; every item of a list on the way."""
    found = [report]
    for name in filter(None, path.split("/")):
        inner = [one[name] for one in found if name in one]
        found = [item for one in inner for item in (one if isinstance(one, list) else [one])]
    return found


def complaints(report: dict[str, Any]) -> list[str]:
    said = [
        f"{path}: no {name}"
        for path, names in REQUIRED.items()
        for one in at(report, path)
        for name in names
        if name not in one
    ]
    for path in REQUIRED:
        for one in at(report, path):
            said += [f"{name}: {one[name]}" for name, words in WORDS.items()
                     if name in one and one[name] not in words]  # fmt: skip
    return said


def config(run: Any, **facts: Any) -> Any:
    run.record.manifest["config"] = facts
    return run


def test_the_boamps_report_of_the_recorded_run_is_the_golden_one() -> None:
    """To accept a new one: write ``boamps_report`` of this run to tests/golden/boamps.json."""
    report = boamps_report(recorded(), **SAID)
    assert report == json.loads((GOLDEN / "boamps.json").read_text("utf-8"))
    assert complaints(report) == []


def test_boamps_has_the_names_of_codecarbons_own_class_and_no_others(make_run: Any) -> None:
    models = pytest.importorskip(
        "codecarbon.output_methods.boamps.models", reason="BoAmps came to CodeCarbon after 3.2"
    )
    facts = {"precision": "bf16", "layers": 24, "optimizer": "adamw", "learning_rate": 1e-3}
    for run in (recorded(), config(make_run(), **facts)):
        report = boamps_report(run, **SAID)
        assert models.BoAmpsReport.from_dict(report).to_dict() == report
        assert complaints(report) == []
    (algorithm,) = report["task"]["algorithms"]
    assert algorithm == {
        "parametersNumber": pytest.approx(0.0011),
        "layersNumber": 24,
        "optimizer": "adamw",
        "quantization": "bf16",
    }
    assert report["quality"] == "medium"
    with pytest.raises(TypeError):
        models.BoAmpsReport.from_dict({**report, "measures": [{"powerUse": 1}]})


def test_a_required_name_that_is_missing_would_be_seen() -> None:
    report = boamps_report(recorded(), **SAID)
    del report["measures"][0]["powerConsumption"]
    report["infrastructure"]["infraType"] = "cloud"
    assert complaints(report) == ["measures: no powerConsumption", "infraType: cloud"]


def test_the_energy_of_boamps_is_that_of_it_in_kwh_without_pue() -> None:
    run = recorded(pue=1.5)
    (measure,) = boamps_report(run, **SAID)["measures"]
    assert measure["powerConsumption"] == pytest.approx(run.energy() / 3.6e6)
    assert "without PUE: 100 % measured" in boamps_report(run, **SAID)["task"]["taskDescription"]


def test_boamps_makes_nothing_up(unmetered: Any, make_run: Any) -> None:
    with pytest.raises(OrderError, match="energy of the run is unknown"):
        boamps_report(unmetered, **SAID)
    with pytest.raises(OrderError, match="family of the task") as refused:
        boamps_report(make_run(), **{**SAID, "family": ""})
    assert "--task-family" in refused.value.hint
    with pytest.raises(OrderError, match="onPremise"):
        boamps_report(make_run(), **{**SAID, "infrastructure": ""})
    run = make_run()
    run.facts["intensity_place"] = "WLD"
    assert "environment" not in boamps_report(run, **SAID)


def test_the_gpai_form_of_the_recorded_run_is_the_golden_one() -> None:
    """To accept new ones: write ``gpai_markdown`` and ``gpai_json`` of this run to tests/golden."""
    run = recorded(pue_source="the operator, 2025")
    assert gpai_markdown(run) == (GOLDEN / "gpai-form.md").read_text("utf-8")
    assert gpai_json(run) == json.loads((GOLDEN / "gpai-form.json").read_text("utf-8"))


def test_the_form_gives_mwh_flop_days_and_says_what_is_no_measurement(make_run: Any) -> None:
    run = make_run()
    fields = {(one.name, one.unit): one for one in gpai_fields(run)}
    energy = fields["Amount of energy used for training", "MWh"]
    assert energy.number == pytest.approx(run.facts["energy_j"] * 1.2 / 3.6e9)
    assert energy.status == "estimated"  # a PUE is a factor, and a fifth of it is a model
    assert "80.0% of the IT energy measured" in energy.remark
    assert "runs before it are not in it" in energy.remark
    flops = [one for one in gpai_fields(run) if one.unit == "FLOP" and one.value]
    assert [one.value for one in flops] == ["order of magnitude 10^15 FLOP", "1.24×10^15 FLOP"]
    assert all(one.status == "told by the training" for one in flops)
    hardware = fields["Training time, hardware days", "days"]
    assert hardware.number == pytest.approx(0.0039 / 24)
    inference = [one for one in gpai_fields(run) if "inference" in one.name]
    assert [(one.value, one.status) for one in inference] == [("", "not measured")]


def test_energy_is_called_measured_only_where_all_of_it_is(make_run: Any) -> None:
    run = make_run()
    run.facts |= {"trust": {"measured": 1.0}, "pue": None, "facility_energy_j": None}
    (energy,) = (one for one in gpai_fields(run) if one.unit == "MWh")
    assert energy.status == "measured"
    assert energy.number == pytest.approx(run.facts["energy_j"] / 3.6e9)
    assert "cooling and power distribution are not in it" in energy.remark


def test_what_nobody_knows_stays_open_in_the_form(unmetered: Any) -> None:
    plain = gpai_json(unmetered)
    (energy,) = (one for one in plain["fields"] if one["unit"] == "MWh")
    assert (energy["value"], energy["number"], energy["status"]) == (None, None, "not measured")
    json.dumps(plain, allow_nan=False)
    assert "not known" in gpai_markdown(unmetered)


@pytest.mark.parametrize("nasty", ["<script>alert(1)</script>", "[x](javascript:alert(1))"])
def test_no_name_acts_in_the_form(make_run: Any, nasty: str) -> None:
    run = make_run()
    run.facts |= {"run_id": nasty, "pue_source": nasty, "device_hours": {nasty: 1.0}}
    text = gpai_markdown(run)
    assert nasty not in text
    assert "\\<script" in text or "\\[x" in text


@pytest.mark.parametrize(
    ("days", "said"),
    [(29, "less than 1 month"), (32, "1 to 3 months"), (100, "3 to 6 months"), (400, "more than")],
)
def test_the_range_of_the_training_time_is_one_of_the_forms(
    make_run: Any, days: float, said: str
) -> None:
    run = make_run()
    run.facts["duration_s"] = days * 86_400.0
    assert any(one.value.startswith(said) for one in gpai_fields(run))


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, "0"), (999.9, "1,000"), (123456.0, "123,000"), (1e6, "1.00×10^6"), (0.012, "0.0120")],
)
def test_three_digits_are_kept(value: float, said: str) -> None:
    assert significant(value) == said


def test_the_command_writes_the_forms(tmp_path: Path, capsys: Any) -> None:
    words = ["export", str(RECORDED), "--out", str(tmp_path), "--format", "gpai-form"]
    with pytest.raises(SystemExit) as ended:
        cli.main(
            [*words, "--format", "boamps", "--task-family", "text", "--infrastructure", "other"]
        )
    assert ended.value.code == 0
    assert {one.name for one in tmp_path.iterdir()} == {
        "boamps.json", "gpai-form.md", "gpai-form.json"
    }  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        cli.main([*words, "--format", "boamps"])
    assert ended.value.code == 1
    assert "--task-family" in capsys.readouterr().err


def test_without_browser_and_weasyprint_the_pdf_is_refused_with_both_remedies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "weasyprint":
            raise OSError("cannot load library 'libpango-1.0-0'")
        return real(name, *rest)

    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(OrderError, match="no WeasyPrint: cannot load library") as refused:
        write_pdf("<p>x", tmp_path / "report.pdf")
    assert "apt-get install chromium" in refused.value.hint
    assert "greenai[pdf]" in refused.value.hint
    assert "--html" in refused.value.hint
    assert list(tmp_path.iterdir()) == []


def test_every_plot_carries_its_colours_where_no_browser_prints(run: Any) -> None:
    page = report_html(run)
    styled = with_styled_plots(page)
    assert styled.count("<style>") == page.count("<style>") + page.count("<svg ")
    inner = styled.partition("<svg ")[2].partition("<style>")[2].partition("</style>")[0]
    assert ".curve { fill: none;" in inner
    assert ".c0 { stroke: #0b6e4f; }" in inner
    assert "var(" not in inner


@pytest.mark.slow
def test_weasyprint_prints_the_page_where_there_is_no_browser(
    tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("weasyprint", reason="weasyprint is an extra of its own: greenai[pdf]")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    page = report_html(run).replace("</main>", '<img src="http://localhost:9/x.png"></main>')
    write_pdf(page, tmp_path / "report.pdf")
    data = (tmp_path / "report.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    assert 20_000 < len(data) < 2_000_000
