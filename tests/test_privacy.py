"""Laws of what a record and its reports tell of whom: no environment, no path, no host, no user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from greenai import cli
from greenai.fleet.push import push
from greenai.record import discretion
from greenai.record.columns import ROW_BYTES
from greenai.record.discretion import discreet
from greenai.record.envelope import open_envelope
from greenai.record.frames import FrameReader

if TYPE_CHECKING:
    from collections.abc import Iterator

TELLTALES = ("quokka-home", "quokka work", "quokka-token", "quokka-host", "quokka-user", "quokka")
TRAINING = """
    import os, time
    import greenai
    home = os.getcwd()
    tracker = greenai.track(
        f"{home}/quokka work/run",
        variant="dense",
        metrics_address="203.0.113.7",  # nobody's: the endpoint cannot be served
        metrics_port=0,
        metrics={
            "textfile": f"{home}/quokka work/missing/figures.prom",
            "pushgateway": "http://quokka-host.invalid:9/quokka",
            "remote_write": "http://127.0.0.1:9/quokka/write",
            "hosts": ["quokka-host"],
        },
        sensors=[
            f"replay:{home}/quokka work/missing", "replay:quokka-relative/missing",
            f"pdu:{home}/watts.csv", "pdu:quokka work/none.csv",
        ],
    )
    tracker.start()
    for index in range(10):
        time.sleep(0.03)
        tracker.step(tokens=5, loss=1.0)
    tracker.stop(wait=True)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose folder, home, user, host, repository and environment all have a telling name."""
    home = tmp_path_factory.mktemp("quokka-home")
    (home / "quokka work" / ".git").mkdir(parents=True)
    git = home / "quokka work" / ".git"
    (git / "config").write_text('[remote "origin"]\nurl = https://me:quokka-token@host/x.git\n')
    (git / "HEAD").write_text("ref: refs/heads/quokka-branch\n")
    (home / "watts.csv").write_text("nonsense in /home/quokka-user\n")
    environment = {
        **os.environ,
        "HOME": str(home),
        "PWD": str(home),
        "USER": "quokka-user",
        "HF_TOKEN": "quokka-token",
        "GREENAI_METRICS_TOKEN": "quokka-token-of-the-endpoint",
        "AWS_SECRET_ACCESS_KEY": "quokka-token",
        "HOSTNAME": "quokka-host",
    }
    command = [sys.executable, "-c", textwrap.dedent(TRAINING)]
    renamed = ["unshare", "--uts", "sh", "-c", 'hostname quokka-host && exec "$0" "$@"']
    can = shutil.which("unshare") and shutil.which("hostname")
    if can and not subprocess.run([*renamed, "true"], check=False, capture_output=True).returncode:
        command = [*renamed, *command]
    done = subprocess.run(
        command, cwd=home, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return home / "quokka work" / "run"


def texts_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every byte of every file, and what compressed ones hold."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        yield name, name.encode()
        yield name, path.read_bytes()
        if path.suffix == ".frames":
            for frame in FrameReader(path):
                yield name, open_envelope(path.stem, frame.payload, ROW_BYTES).rows.tobytes()
        if path.suffix == ".parquet":
            yield name, repr(pq.read_table(path).to_pylist()).encode()
            yield name, repr(pq.read_schema(path).metadata).encode()


def test_no_byte_of_a_record_or_a_report_tells_whose_it_is(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    push(trained, f"{tmp_path}/pushed")
    for words in (
        ["report", trained, "--html", tmp_path / "r.html", "--md", tmp_path / "r.md", "--json",
         tmp_path / "r.json"],
        ["export", trained, "--out", tmp_path, "--format", "emissions", "--format", "parquet",
         "--format", "json"],
        ["report", trained.parent, "--by", "project", "--html", tmp_path / "all.html", "--csv",
         tmp_path / "all.csv"],
        ["index", trained.parent, "--out", tmp_path / "index.parquet"],
    ):  # fmt: skip
        with pytest.raises(SystemExit) as end:
            cli.main([str(word) for word in words])
        assert not end.value.code, capsys.readouterr().err
    found = [*texts_of(trained), *texts_of(tmp_path)]
    assert {"run_id.txt", "manifest.json", "events.jsonl", "marks.frames", "live.json"} <= {
        name.rpartition("/")[2] for name, _ in found
    }
    told = {
        (name, word) for name, content in found for word in TELLTALES if word.encode() in content
    }
    # The report of many runs is named for the folder that it was asked for.
    assert told == {("all.html", word) for word in ("quokka work", "quokka")}
    host, user = os.uname().nodename.encode(), str(Path.home()).encode()
    assert not any(user in content for _, content in found) or len(user) < 6
    assert not any(host in content for _, content in found) or len(host) < 6
    # What happened is said all the same.
    manifest = next(trained.glob("rank-0/*/manifest.json")).read_text()
    for word in ("the recorded run does not exist", "none.csv", "<path>"):
        assert word in manifest


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("[Errno 13] Permission denied: '/home/ada/my runs/x'", "[Errno 13] Permission denied: "),
        ("no /home/ada/x, /mnt/data/y: z", "no <path>, <path>: z"),
        ("~/secret and (/root/.cache/x)", "<path> and (<path>)"),
        ("file:/home/ada", "file:<path>"),
        ("on ada-laptop.example.org: ada-laptop failed", "on <host>: <host> failed"),
        ("in /srv/ada dir/run/x y", "in <path> y"),
    ],
)
def test_paths_and_hosts_are_taken_out(
    told: str, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    discretion._known.cache_clear()
    name = SimpleNamespace(nodename="ada-laptop.example.org")
    monkeypatch.setattr(os, "uname", lambda: name)
    monkeypatch.setenv("PWD", "/srv/ada dir")
    said = discreet(told)
    discretion._known.cache_clear()
    assert said.startswith(kept)
    assert "ada" not in said


@pytest.mark.parametrize(
    "text",
    [
        "energy_uj of /sys/class/powercap/intel-rapl:0 (Permission denied)",
        "read /proc/stat, /dev/nvidia0 and /usr/lib/libnvidia-ml.so.1",
        "412 g/kWh, 3 J/s, CPU time of the job / busy CPU time",
        "sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj",
        "https://example.org/a/b",
        "rank-0/attempt-x/marks.frames",
    ],
)
def test_what_tells_nothing_stays(text: str) -> None:
    assert discreet(text) == text


def test_values_keep_their_shape() -> None:
    plain: dict[str, Any] = {"a": ["/home/x/y", 1, None, {"b": ("~/z",)}]}
    assert discretion.discreet_json(plain) == {"a": ["<path>", 1, None, {"b": ["<path>"]}]}
