"""Laws of the command line: errors are said without a traceback, help is light, files are named."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from simulation.counters import a_channel

import greenai
from greenai import api, cli, doctor, lens
from greenai.analysis.compare import RunFigures, compare
from greenai.analysis.efficiency import Work
from greenai.analysis.impacts import Factors
from greenai.analysis.lens import Lens, LensRun
from greenai.doctor import Diagnosis, Row
from greenai.errors import GridError, OrderError, RecordError
from greenai.exporters import report_html, report_terminal, tables

if TYPE_CHECKING:
    from greenai.sensors.base import Trust

GPU = SimpleNamespace(kind="gpu", primary=True)
CPU = SimpleNamespace(kind="cpu", primary=True)


def run_of(*channels: Any, problems: tuple[str, ...] = ()) -> Any:
    attempt = SimpleNamespace(channels=channels, problems=problems)
    return SimpleNamespace(record=SimpleNamespace(attempts=(attempt,)))


def exit_code(*arguments: str) -> int:
    """Run the command line in this process."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return int(ended.value.code or 0)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every run loads; keeps what was asked for. Reports are one word."""
    asked: list[dict[str, Any]] = []

    def load(path: Path, **arguments: Any) -> Any:
        asked.append({"path": path, **arguments})
        return run_of(CPU, problems=("The last frame was torn.",))

    monkeypatch.setattr(api, "load", load)
    monkeypatch.setattr(report_terminal, "run_report", lambda _: "the report")
    monkeypatch.setattr(report_html, "report_html", lambda _: "<html>")
    return asked


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Runs lie below ``runs``, and compare to the same result each time."""
    asked: dict[str, Any] = {"loaded": []}
    for name in ("dense-0", "dense-1", "moe-0", "moe-1"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "manifest.json").write_text("{}")
    figures = [
        RunFigures(
            name, name[:-2], joules, joules / 50, {"token": 1e3}, {"measured": 1.0}, coverage=1.0
        )
        for name, joules in (("dense-0", 9.9), ("dense-1", 10.0), ("moe-0", 7.9), ("moe-1", 8.0))
    ]

    def fake_compare(runs: Any, **arguments: Any) -> Any:
        asked.update(arguments, runs=len(list(runs)))
        return compare(figures, arguments["baseline"], arguments["per"])

    def load(path: Path) -> Any:
        asked["loaded"].append(path.name)
        return run_of(asked.get("channel", CPU))

    empty = np.empty(0)
    works = [Work(one.run_id, one.variant, one.energy_j, one.duration_s, 1e3) for one in figures]
    seen = tuple(LensRun(work, math.nan, empty, empty) for work in works)
    monkeypatch.setattr(api, "compare", fake_compare)
    monkeypatch.setattr(api, "load", load)

    def look(_: object, baseline: str, per: str = "token", **_sweep: object) -> Lens:
        return Lens(per, baseline, seen)

    monkeypatch.setattr(lens, "lens_of", look)
    return asked


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom greenai.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as ended:\n    assert not ended.code\n"
        "heavy = {'numpy', 'pandas', 'pyarrow', 'torch', 'codecarbon'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 0, answer.stderr
    names = ("report", "compare", "export", "doctor", "run", "bench", "estimate", "scaling")
    for name in names:
        assert f" {name} " in answer.stdout


def test_the_module_is_the_command(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "greenai", "version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert answer.stdout == f"greenai {greenai.__version__}\n"


@pytest.mark.parametrize("error", [RecordError, GridError])
def test_an_error_is_said_on_standard_error_with_exit_code_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: type[Exception]
) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise error("No [b]run[/b] is there.", "Nothing can be said.", "name a run folder")

    monkeypatch.setattr(api, "load", load)
    assert exit_code("report", "nowhere") == 1
    out, err = capsys.readouterr()
    assert out == ""
    text = "No [b]run[/b] is there.\nNothing can be said.\n\nhint: name a run folder\n"
    assert err == f"{error.__name__}: {text}"


def test_a_wrong_command_line_has_exit_code_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("report") == 2
    assert exit_code("nonsense") == 2
    assert exit_code("compare", "runs", "--baseline", "dense", "--per", "moon") == 2
    assert "moon" in capsys.readouterr().err
    assert exit_code("compare", "runs", "--baseline", "dense", "--per", "loss:low") == 2
    assert exit_code("compare", "runs", "--baseline", "dense", "--across", "moon") == 2


@pytest.mark.parametrize(
    ("module", "extra"), [("torch", "lightning"), ("codecarbon.core", "codecarbon")]
)
def test_a_missing_extra_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: str, extra: str
) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(api, "load", load)
    assert exit_code("report", "run") == 1
    assert f'pip install "greenai[{extra}]"' in capsys.readouterr().err


def test_a_fault_of_our_own_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise ModuleNotFoundError("No module named 'greenai.lost'", name="greenai.lost")

    monkeypatch.setattr(api, "load", load)
    with pytest.raises(ModuleNotFoundError, match="lost"):
        cli.main(["report", "run"])


def test_report_shows_the_run_and_writes_its_page(
    loaded: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("report", str(tmp_path), "--partial", "--country", "FRA", "--pue", "1.2") == 0
    (asked,) = loaded
    assert asked.pop("intensity") is None
    assert asked.pop("factors") == Factors()
    assert asked == {
        "path": tmp_path, "partial": True, "country": "FRA", "region": None, "pue": 1.2,
        "pue_source": None, "intensity_table": None,
    }  # fmt: skip
    out = capsys.readouterr().out
    assert "the report" in out
    assert f"{tmp_path / 'report.html'}" in out
    assert (tmp_path / "report.html").read_text() == "<html>"


@pytest.mark.usefixtures("loaded")
def test_a_run_folder_that_cannot_be_written_does_not_stop_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "file"
    folder.write_text("a file, so that nothing can be written below it")
    assert exit_code("report", str(folder)) == 0
    out, err = capsys.readouterr()
    assert "the report" in out
    assert "report.html cannot be written" in err
    assert "--html" in err
    assert exit_code("report", str(folder), "--html", str(folder / "page.html")) == 1


def test_compare_takes_folders_of_runs_once_each(
    compared: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    code = exit_code("compare", str(runs), str(runs / "moe-0"), "--baseline", "dense")
    assert code == 0
    assert compared["loaded"] == ["dense-0", "dense-1", "moe-0", "moe-1"]
    assert (compared["per"], compared["across_devices"]) == ("token", False)
    out = capsys.readouterr().out
    assert "mJ/token" in out
    assert "do not carry over to GPUs" in out


def test_compare_on_gpus_says_nothing_of_cpus(
    compared: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compared["channel"] = GPU
    assert exit_code("compare", str(tmp_path / "runs"), "--baseline", "dense") == 0
    assert "carry over" not in capsys.readouterr().out


def test_compare_passes_the_loss_and_the_devices_on(
    compared: dict[str, Any], tmp_path: Path
) -> None:
    options = ("--baseline", "dense", "--per", "step", "--across", "device")
    compared["per"] = None
    exit_code("compare", str(tmp_path / "runs"), *options)
    assert (compared["per"], compared["across_devices"]) == ("step", True)
    exit_code("compare", str(tmp_path / "runs"), "--baseline", "dense", "--per", "loss:2.5")
    assert (compared["per"], compared["across_devices"]) == ("loss:2.5", False)


def test_help_of_compare_says_how_it_decides(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("compare", "--help") == 0
    out = capsys.readouterr().out
    for word in ("--across", "--per", "loss:2.5", "active_flop", "Welch", "Holm", "idle_power_w"):
        assert word in out


@pytest.mark.usefixtures("compared")
def test_compare_writes_what_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {kind: tmp_path / f"result.{kind}" for kind in ("json", "csv", "html")}
    options = [word for kind, path in files.items() for word in (f"--{kind}", str(path))]
    assert exit_code("compare", str(tmp_path / "runs"), "--baseline", "dense", *options) == 0
    plain = json.loads(files["json"].read_text())
    assert plain["baseline"] == "dense"
    assert [one["variant"] for one in plain["why"]["efficiency"]] == ["dense", "moe"]
    assert files["csv"].read_text().startswith("per,baseline,variant,n,mean,ratio,low,high")
    assert "Energy per token against dense" in files["html"].read_text(encoding="utf-8")
    out = capsys.readouterr().out
    assert all(str(path) in out for path in files.values())


def test_export_writes_the_formats_and_says_what_was_cut(
    loaded: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[Any] = []

    def export(_: Any, folder: Path, formats: list[str]) -> list[Path]:
        asked.append((folder, formats))
        return [folder / "steps.csv"]

    monkeypatch.setattr(tables, "export", export)
    assert exit_code("export", str(tmp_path)) == 0
    assert (
        exit_code("export", str(tmp_path), "--format", "parquet", "--format", "json", "--out", "x")
        == 0
    )
    assert asked == [(tmp_path, ["csv"]), (Path("x"), ["parquet", "json"])]
    assert len(loaded) == 2
    out, err = capsys.readouterr()
    assert "steps.csv" in out
    assert "The last frame was torn." in err


@pytest.mark.parametrize(("trust", "code"), [("measured", 0), ("modelled", 1)])
def test_doctor_fails_where_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], trust: Trust, code: int
) -> None:
    rows = [
        Row("rapl", "refused", "RAPL counter is not readable.", "sudo chmod a+r FILE"),
        Row("nvml", "works", channel=a_channel(trust=trust)),
    ]
    asked: list[Any] = []

    def examine(wanted: Any, *, seconds: float, say: Any) -> Diagnosis:
        asked.append((wanted, seconds))
        say("reading")
        return Diagnosis(rows, ["GPU energy."])

    monkeypatch.setattr(doctor, "examine", examine)
    assert exit_code("doctor") == code
    out, err = capsys.readouterr()
    assert "hint: sudo chmod a+r FILE" in out
    assert err == ""  # no terminal, no progress
    assert exit_code("doctor", "--json", "--seconds", "7", "--sensor", "rapl") == code
    plain = json.loads(capsys.readouterr().out)
    assert plain["rows"][0]["sensor"] == "rapl"
    assert plain["measured"] is (code == 0)
    assert asked == [(None, 3.0), (["rapl"], 7.0)]


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--seconds", text] for text in ("0", "-1", "nan", "inf", "1e9", "soon")),
        ["--sensor", "nvidia"],
        ["--sensor", "replay:"],
    ],
)
def test_doctor_refuses_what_it_cannot_examine(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("doctor", *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert arguments[0].removeprefix("--") in err


def test_doctor_shows_its_progress_on_a_terminal_and_wipes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(
        doctor, "examine", lambda *_, say, **__: say("reading") or Diagnosis([], [])
    )
    assert exit_code("doctor") == 1
    assert "reading" in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[K")


def test_help_of_doctor_answers_what_is_asked_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("doctor", "--help") == 0
    out = capsys.readouterr().out
    for word in ("--json", "--seconds", "--sensor", "Exit code 0", "null", "mends", "mark"):
        assert word in out


@pytest.mark.usefixtures("compared")
def test_bench_prints_what_it_found_and_where_it_lies(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: dict[str, Any] = {}

    def run_bench(**arguments: Any) -> Any:
        asked.update(arguments)
        return SimpleNamespace(
            folder=tmp_path,
            comparison=api.compare([], baseline="dense", per="token"),
            planned_repeats=6,
            done_repeats=2,
            notices=("Learning rates are untuned.",),
            runs=tuple(
                tmp_path / "runs" / f"{name}-{n}" for n in range(2) for name in ("dense", "moe")
            ),
            held_out_loss_nats={"dense": (2.0, 3.0), "moe": (2.5, 2.5)},
            sequence_sweep=tmp_path / "sequence_sweep.json" if arguments["sweep_seq"] else None,
        )

    monkeypatch.setitem(
        sys.modules, "greenai.workloads.bench", SimpleNamespace(run_bench=run_bench)
    )
    assert exit_code("bench", "--quick", "--budget-s", "60", "--country", "FRA") == 0
    assert (asked["quick"], asked["budget_s"], asked["country"]) == (True, 60.0, "FRA")
    assert asked["variants"] == ["dense", "moe", "sliding_window"]
    assert (asked["size"], asked["match"], asked["across_device"]) == (None, "active-params", False)
    out = " ".join(capsys.readouterr().out.split())
    page = tmp_path / "comparison.html"
    for said in (
        "2 of 6",
        "dense 2.500",
        "Use of the devices",
        "Learning rates are untuned.",
        str(page),
        "and 1 more",
    ):
        assert said in out
    assert "2 of 6" in page.read_text(encoding="utf-8")


def test_bench_hands_over_what_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {}

    def run_bench(**arguments: Any) -> Any:
        asked.update(arguments)
        raise OrderError("asked enough.")

    monkeypatch.setitem(
        sys.modules, "greenai.workloads.bench", SimpleNamespace(run_bench=run_bench)
    )
    words = "--size large --variants dense,moe+linear --match flops --repeats 4 --seconds 30"
    more = "--lr-sweep --sweep-seq 256,512 --out runs/a --resume --across device"
    assert exit_code("bench", *words.split(), *more.split()) == 1
    assert "asked enough" in capsys.readouterr().err
    assert (asked["size"], asked["variants"]) == ("large", ["dense", "moe+linear"])
    assert (asked["match"], asked["repeats"], asked["seconds"]) == ("flops", 4, 30.0)
    assert (asked["lr_sweep"], asked["sweep_seq"]) == (True, [256, 512])
    assert (asked["resume"], asked["across_device"], asked["out"]) == (True, True, Path("runs/a"))


@pytest.mark.parametrize("lengths", ["", "256,", "1", "256,many", "-4"])
def test_lengths_that_are_none_are_a_wrong_command_line(lengths: str) -> None:
    assert exit_code("bench", "--sweep-seq", lengths) == 2


def test_a_terminal_without_unicode_gets_the_report_all_the_same() -> None:
    code = (
        "from greenai import cli\nimport greenai.api, greenai.exporters.report_terminal as r\n"
        "import greenai.exporters.report_html as h\n"
        "greenai.api.load = lambda *a, **k: None\nr.run_report = lambda run: 'CO₂ × ─'\n"
        "h.report_html = lambda run: ''\ncli.main(['report', 'no/such', '--html', '/dev/null/x'])\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        timeout=60,
        check=False,
        env={"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin:/bin"},
    )
    assert answer.returncode == 1
    assert b"CO?" in answer.stdout
    assert b"Traceback" not in answer.stderr


def test_report_writes_every_form_that_is_asked_for(tmp_path: Path) -> None:
    recorded = str(Path(__file__).parent / "fixtures" / "record-v1")
    words = {"--html": "r.html", "--md": "r.md", "--json": "r.json"}
    asked = [one for option, name in words.items() for one in (option, str(tmp_path / name))]
    assert exit_code("report", recorded, *asked, "--wue", "0.5", "--price", "-0.01") == 0
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(words.values())
    impacts = json.loads((tmp_path / "r.json").read_text())["summary"]["impacts"]
    assert impacts["water_on_site_l"]["mid"] == pytest.approx(impacts["energy_kwh"]["mid"] * 0.5)
    assert impacts["cost"] < 0


def test_export_writes_for_other_readers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = str(Path(__file__).parent / "fixtures" / "record-v1")
    words = ["export", recorded, "--out", str(tmp_path), "--format", "emissions"]
    card = tmp_path / "README.md"
    assert exit_code(*words, "--format", "model-card") == 1
    assert "--card README.md" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert exit_code(*words, "--format", "model-card", "--card", str(card)) == 0
    assert sorted(one.name for one in tmp_path.iterdir()) == ["README.md", "emissions.csv"]
    assert "co2_eq_emissions:" in card.read_text()
