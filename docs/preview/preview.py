"""Draws docs/dashboard-*.png: the shipped dashboards, real runs, a real Prometheus, Grafana's library.

    cd docs/preview && npm install --legacy-peer-deps
    PYTHONPATH=tests .venv/bin/python docs/preview/preview.py [SECONDS]

It needs npm, Prometheus and Chromium (`make servers`), and is run by hand when a dashboard changes.
What it draws is no evidence about a Grafana server.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright
from simulation.fake_nvml import FakeNvml
from simulation.grafana_text import filled_in, load, panels
from simulation.prometheus_server import Prometheus, prometheus

from greenai.dashboards import DASHBOARDS, FILES, install, text_of

HERE = Path(__file__).parent
MODULES = Path(os.environ.get("PREVIEW_MODULES", HERE / "node_modules"))
SCRIPT = HERE.parents[1] / "tests" / "dashboards" / "served_run.py"
# Variant, project, experts, seconds a step, and how the simulated GPUs draw.
RUNS = [
    ("dense", "text", "0", "0.12", {"low_w": 210, "high_w": 340, "wave_ms": 9000, "wave": "sine"}),
    ("moe", "text", "4", "0.16", {"low_w": 150, "high_w": 260, "wave_ms": 7000, "wave": "sine"}),
    ("window", "vision", "0", "0.1", {"low_w": 90, "high_w": 200, "wave_ms": 8000, "idle": "1"}),
]
PAGE = "<!doctype html><meta charset=utf-8><body style='margin:0'><div id=root></div>"


def bundle(folder: Path) -> str:
    out = folder / "preview.js"
    loaders = [f"--loader:.{end}=dataurl" for end in ("ttf", "woff", "woff2", "svg")]
    command = [
        MODULES / ".bin" / "esbuild", HERE / "preview.jsx", "--bundle", "--minify",
        "--define:process.env.NODE_ENV='production'", "--log-level=error",
        f"--outfile={out}", *loaders,
    ]
    subprocess.run(command, check=True, env={**os.environ, "NODE_PATH": str(MODULES)})
    # Closing tags within strings would end the page's own.
    script = out.read_text(encoding="utf-8").replace("</script", "<\\/script")
    return f"<style>{out.with_suffix('.css').read_text(encoding='utf-8')}</style><script>{script}</script>"


def answers(server: Prometheus, dashboard: dict, run: str, start: float, end: float) -> dict:
    values = {"run": run, "project": ".*", "variant": ".*", "baseline": "dense", "price": "0.25"}
    found = {}
    for panel in panels(dashboard):
        for target in panel["targets"]:
            expr = filled_in(target["expr"], values)
            if target.get("instant"):
                rows = server.get("query", query=expr, time=end)["result"]
                rows = [{"metric": row["metric"], "values": [row["value"]]} for row in rows]
            else:
                rows = server.get("query_range", query=expr, start=start, end=end, step=1)["result"]
            for row in rows:
                row["values"] = [
                    [at, number if math.isfinite(number := float(text)) else None]
                    for at, text in row["values"]
                ]
            found[f"{panel['id']} {target['refId']}"] = rows
    return found


def save(picture: bytes, name: str) -> None:
    """Write a picture with as many colours as it needs, which is a third of its size."""
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(256).save(HERE.parent / name, optimize=True)


def main(seconds: float) -> None:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        drawing = bundle(folder)
        install(folder, FILES)
        nvml = FakeNvml.compiled(folder)
        started = {}
        for variant, project, experts, pace, draw in RUNS:
            words = [str(folder / variant), variant, project, experts, pace, str(folder / f"{variant}.csv")]
            run = subprocess.Popen([sys.executable, str(SCRIPT), *words], env=nvml.environment(gpus=2, **draw))
            stack.callback(run.wait)
            stack.callback(run.kill)
            started[variant] = folder / variant
        told: dict[str, dict] = {}
        while len(told) < len(started):
            for variant, path in started.items():
                for live in path.glob("rank-0/attempt-*/live.json"):
                    with contextlib.suppress(ValueError):
                        facts = json.loads(live.read_text())
                        if facts.get("metrics_port"):
                            told[variant] = facts
            time.sleep(0.2)
        ports = [facts["metrics_port"] for facts in told.values()]
        rules = [folder / FILES["rules"].path]
        server = stack.enter_context(prometheus(folder, ports, rules))
        begin = time.time()
        time.sleep(seconds)
        end = time.time()
        browser = stack.enter_context(sync_playwright()).chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        stack.callback(browser.close)
        for name in DASHBOARDS:
            dashboard = load(text_of(name))
            run = told["moe"]["run_id"] if name == "run" else ".*"
            data = {"dashboard": dashboard, "from": begin + 6, "to": end,
                    "answers": answers(server, dashboard, run, begin + 6, end)}
            page = browser.new_page(viewport={"width": 1600, "height": 1200})
            page.on("console", lambda line: print(line.text[:600]) if line.type == "error" else None)
            page.on("pageerror", lambda error: print(str(error)[:600]))
            text = json.dumps(data).replace("</", "<\\/")
            (folder / "page.html").write_text(f"{PAGE}<script>PAGE = {text}</script>{drawing}")
            page.goto((folder / "page.html").as_uri())
            page.wait_for_timeout(2500)
            save(page.screenshot(full_page=True), f"dashboard-{name}.png")
            if name == "run":
                save(page.screenshot(clip={"x": 0, "y": 0, "width": 1600, "height": 770}), "dashboard.png")
            page.close()


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 100.0)
