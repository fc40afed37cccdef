"""Real servers for the slow tests: started on loopback, asked over HTTP, ended with the test."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

T = TypeVar("T")

READY_S = 60.0
PROMETHEUS = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: pull
    authorization: {{credentials: {token}}}
    tls_config: {{ca_file: "{certificate}"}}
    file_sd_configs: [{{files: ["{targets}/*.json"], refresh_interval: 1s}}]
  - job_name: gateway
    honor_labels: true
    static_configs: [{{targets: ["{gateway}"]}}]
  - job_name: node
    static_configs: [{{targets: ["{node}"]}}]
"""


def until(condition: Callable[[], T], seconds: float = READY_S, what: object = "") -> T:
    """Poll until a condition holds, and return what it gave."""
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < give_up, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return found


def certificate(folder: Path) -> Path:
    """PEM file with a key and its own certificate for this machine, good for two days."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    key, signed = folder / "key.pem", folder / "signed.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", str(key), "-out", str(signed)],
        check=True, capture_output=True,
    )  # fmt: skip
    both = folder / "both.pem"
    both.write_text(key.read_text() + signed.read_text())
    return both


def free_address() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{one.getsockname()[1]}"


@contextlib.contextmanager
def server(program: str, *arguments: str, address: str, ready: str, log: Path) -> Iterator[str]:
    """Run a program until the end of the block; skip the test where it is not installed."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (make servers)")
    with log.open("wb") as output:
        process = subprocess.Popen([program, *arguments], stdout=output, stderr=output)
    url = f"http://{address}"

    def is_ready() -> bool:
        assert process.poll() is None, log.read_text()[-2000:]
        with contextlib.suppress(OSError), urllib.request.urlopen(url + ready, timeout=1) as answer:
            return bool(answer.status == 200)
        return False

    try:
        until(is_ready, what=program)
        yield url
    finally:
        process.kill()
        process.wait()


def query(url: str, expression: str, at_s: float | None = None) -> list[dict[str, Any]]:
    """Instant query; the series of the answer."""
    fields = {"query": expression} | ({} if at_s is None else {"time": f"{at_s:.3f}"})
    target = f"{url}/api/v1/query?{urllib.parse.urlencode(fields)}"
    with urllib.request.urlopen(target, timeout=10) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return found


def value(url: str, expression: str, at_s: float | None = None) -> float | None:
    """The one number of an instant query; None where there is no series."""
    found = query(url, expression, at_s)
    assert len(found) <= 1, expression
    return float(found[0]["value"][1]) if found else None


@contextlib.contextmanager
def prometheus(folder: Path, config: str = "", *more: str) -> Iterator[str]:
    """Prometheus with its data in a folder, which may hold some already."""
    address = free_address()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "prometheus.yml"
    file.write_text(config or "scrape_configs: []\n")
    with server(
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--web.enable-remote-write-receiver",
        "--enable-feature=exemplar-storage",
        *more,
        address=address,
        ready="/-/ready",
        log=folder / "prometheus.log",
    ) as url:
        yield url


@contextlib.contextmanager
def pushgateway(folder: Path) -> Iterator[str]:
    address = free_address()
    with server(
        "prometheus-pushgateway",
        f"--web.listen-address={address}",
        f"--persistence.file={folder / 'gateway.data'}",
        address=address,
        ready="/-/ready",
        log=folder / "gateway.log",
    ) as url:
        yield url


@contextlib.contextmanager
def node_exporter(folder: Path) -> Iterator[str]:
    """node_exporter that reads the folder's ``.prom`` files and nothing else."""
    address = free_address()
    with server(
        "prometheus-node-exporter",
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--collector.textfile.directory={folder}",
        f"--web.listen-address={address}",
        address=address,
        ready="/metrics",
        log=folder / "node.log",
    ) as url:
        yield url


@contextlib.contextmanager
def victoria_metrics(folder: Path) -> Iterator[str]:
    address = free_address()
    with server(
        "victoria-metrics",
        f"-httpListenAddr={address}",
        f"-storageDataPath={folder / 'victoria'}",
        "-search.latencyOffset=0s",
        "-search.disableCache",
        address=address,
        ready="/health",
        log=folder / "victoria.log",
    ) as url:
        yield url
