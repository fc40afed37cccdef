"""The recipes for Prometheus are such that Prometheus takes them, and leave no setting out."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from greenai.outlets import Outlets

PAGE = (Path(__file__).parents[1] / "docs" / "prometheus.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)


def test_every_way_out_is_documented() -> None:
    for field in dataclasses.fields(Outlets):
        assert f"`{field.name}`" in PAGE


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_takes_the_scrape_configs(tmp_path: Path) -> None:
    configs = [recipe for recipe in RECIPES if "scrape_configs" in recipe]
    assert len(configs) == 2
    (tmp_path / "token").write_text("secret")
    for recipe in configs:
        file = tmp_path / "prometheus.yml"
        file.write_text(recipe.replace("/etc/prometheus/greenai.token", str(tmp_path / "token")))
        done = subprocess.run(
            ["promtool", "check", "config", str(file)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_the_pod_monitor_is_whole() -> None:
    (monitor,) = [yaml.safe_load(recipe) for recipe in RECIPES if "PodMonitor" in recipe]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] == "greenai"
    assert set(endpoint["authorization"]["credentials"]) == {"name", "key"}
