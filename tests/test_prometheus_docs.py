"""The recipes for Prometheus are such that Prometheus takes them, and leave no setting out."""

from __future__ import annotations

import dataclasses
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from greenai.cli import app
from greenai.outlets import Outlets

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "prometheus.md").read_text(encoding="utf-8")
WATCH_PAGE = (DOCS / "watch.md").read_text(encoding="utf-8")
FENCED_YAML = re.compile(r"```yaml\n(.*?)```", flags=re.DOTALL)
RECIPES = FENCED_YAML.findall(PAGE)
WATCH_RECIPES = FENCED_YAML.findall(WATCH_PAGE)


def test_every_way_out_is_documented() -> None:
    for field in dataclasses.fields(Outlets):
        assert f"`{field.name}`" in PAGE


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_takes_the_scrape_configs(tmp_path: Path) -> None:
    every = [*RECIPES, *WATCH_RECIPES]
    configs = [recipe for recipe in every if "scrape_configs" in recipe]
    assert len(configs) == 3
    (tmp_path / "token").write_text("secret")
    for recipe in configs:
        file = tmp_path / "prometheus.yml"
        token = str(tmp_path / "token")
        file.write_text(re.sub(r"/etc/prometheus/greenai[.-]token", token, recipe))
        done = subprocess.run(
            ["promtool", "check", "config", str(file)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_the_pod_monitor_is_whole() -> None:
    (monitor,) = [yaml.safe_load(recipe) for recipe in RECIPES if "PodMonitor" in recipe]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] == "greenai"
    assert set(endpoint["authorization"]["credentials"]) == {"name", "key"}


def test_the_recipes_of_the_exporter_use_options_that_there_are() -> None:
    (pod,) = [
        list(yaml.safe_load_all(recipe)) for recipe in WATCH_RECIPES if "PodMonitor" in recipe
    ]
    (container,) = pod[0]["containers"]
    (endpoint,) = pod[1]["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] == container["ports"][0]["name"]
    assert str(container["ports"][0]["containerPort"]) in container["command"]
    service = re.search(r"^ExecStart=(.*)$", WATCH_PAGE, flags=re.MULTILINE)
    script = re.search(r"^greenai watch .*SLURM.*$", WATCH_PAGE, flags=re.MULTILINE)
    assert service is not None
    assert script is not None
    command = get_command(app).commands["watch"]
    for words in (
        container["command"],
        shlex.split(service[1]),
        shlex.split(script[0].removesuffix("&")),
    ):
        assert words[1] == "watch"
        with command.make_context("watch", list(words[2:])) as context:
            assert context.params["host"] == "0.0.0.0"  # noqa: S104 - read, not bound
            assert context.params["port"] == 9400
