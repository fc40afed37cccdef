"""A real Prometheus on loopback, asked as Grafana asks it."""

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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

READY_S = 20.0
CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: {rules}
scrape_configs:
  - job_name: greenai
    static_configs: [{{targets: {targets}}}]
"""


class Prometheus:
    """A running server.

    Args:
        url: Where it listens.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **words: object) -> Any:
        """Data of an answer; what Prometheus refuses is raised with its reason."""
        query = urllib.parse.urlencode({name.rstrip("_"): word for name, word in words.items()})
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=20) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from None

    def latest(self, expr: str) -> list[dict[str, Any]]:
        """Series of an expression now, each with labels and value."""
        data = self.get("query", query=expr)
        rows = data["result"] if data["resultType"] == "vector" else [{"value": data["result"]}]
        return [{**row.get("metric", {}), "": float(row["value"][1])} for row in rows]

    def over(self, expr: str, seconds: float) -> list[dict[str, Any]]:
        """Series of an expression in the last seconds, each with its labels and values."""
        now = time.time()
        found = self.get("query_range", query=expr, start=now - seconds, end=now, step=1)
        return [
            {**row["metric"], "": [float(value) for _, value in row["values"]]}
            for row in found["result"]
        ]

    def values_of(self, label: str, selector: str) -> list[str]:
        """Values of a label in the series of a selector."""
        found: list[str] = self.get(f"label/{label}/values", **{"match[]": selector})
        return found


@contextlib.contextmanager
def prometheus(folder: Path, ports: Sequence[int], rules: Sequence[Path]) -> Iterator[Prometheus]:
    """Start Prometheus on these ports of this machine, and wait until it is ready."""
    program = shutil.which("prometheus")
    assert program is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "prometheus.yaml"
    targets = json.dumps([f"127.0.0.1:{one}" for one in ports])
    config.write_text(CONFIG.format(targets=targets, rules=json.dumps([str(one) for one in rules])))
    command = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        give_up_s = time.monotonic() + READY_S
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}/-/ready", timeout=1).close()
                break
            assert server.poll() is None
            assert time.monotonic() < give_up_s
            time.sleep(0.05)
        yield Prometheus(url)
    finally:
        server.kill()
        server.wait()
