"""Laws of the served page: it holds nothing of a run, lets nothing foreign run, asks no disk."""

from __future__ import annotations

import re
import socket
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from simulation.growing import GrowingRun

from greenai.commands.watch import serve
from greenai.errors import OrderError, RecordError
from greenai.exporters.watch_terminal import overview
from greenai.following.folder import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from greenai.exporters.endpoint import Endpoint

NAME = "<script>document.title='owned'</script>\x1b[2J\"'[red]"


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    folder = tmp_path_factory.mktemp("runs")
    (folder.parent / "secret.txt").write_text("secret")
    GrowingRun(folder / "dense", variant=NAME).finish()
    watch = Watch(folder)
    for _ in range(4):
        watch.update()
    return watch


@pytest.fixture(scope="module")
def endpoint(watch: Watch) -> Iterator[Endpoint]:
    endpoint = serve(watch, "127.0.0.1", 0)
    yield endpoint
    endpoint.close()


def asked(endpoint: Endpoint, path: str, host: str = "localhost") -> str:
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
            if b"event: whole" in answer and answer.endswith(b"\n\n"):
                break
    return answer.decode()


def test_the_page_is_one_file_that_runs_its_own_scripts_alone(endpoint: Endpoint) -> None:
    with urllib.request.urlopen(f"{endpoint.url}/", timeout=10) as answer:
        markup, policy = answer.read().decode(), answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert policy.count("'sha256-") == 3
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:)""", markup)
    assert "owned" not in markup
    script = markup.partition("The page of `greenai watch`")[2]
    assert "innerHTML" not in script
    assert "eval(" not in script


def test_names_travel_as_data(endpoint: Endpoint) -> None:
    answer = asked(endpoint, "/events")
    assert "text/event-stream" in answer
    assert "<script>" in answer
    assert "\x1b" not in answer
    assert "nosniff" in answer


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/dense/manifest.json",
        "//etc/passwd",
        "/events/",
        "/assets/",
    ],
)
def test_no_path_reaches_the_disk(endpoint: Endpoint, path: str) -> None:
    assert asked(endpoint, path).startswith("HTTP/1.0 404")


def test_another_name_of_this_machine_is_not_answered(endpoint: Endpoint) -> None:
    assert " 421 " in asked(endpoint, "/", host="rebound.example").splitlines()[0]


def test_other_machines_need_a_token(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OrderError, match="no token is set"):
        serve(watch, "0.0.0.0", 0)  # noqa: S104 - refused
    monkeypatch.setenv("GREENAI_METRICS_TOKEN", "a-token-of-this-test")
    guarded = serve(watch, "127.0.0.1", 0)
    try:
        assert asked(guarded, "/").startswith("HTTP/1.0 401")
        assert asked(guarded, "/events").startswith("HTTP/1.0 401")
    finally:
        guarded.close()


def test_metrics_of_a_folder_without_live_runs_are_empty(endpoint: Endpoint) -> None:
    begin = time.monotonic()
    assert "greenai_energy_joules_total{" not in asked(endpoint, "/metrics")
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("width", [80, 140])
def test_the_terminal_shows_the_same_and_obeys_no_name(watch: Watch, width: int) -> None:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(overview(watch.state(), width))
    text = capture.get()
    assert "dense" in text
    assert "finished" in text
    assert "\x1b" not in text
    energy_j = watch.followers()[0][1].totals()["energy_j"]
    assert f"{energy_j / 1000:.2f} kJ" in text


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="is no folder"):
        Watch(tmp_path / "missing")
