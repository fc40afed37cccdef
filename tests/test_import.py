"""Laws of what an import costs: the package and all that the sampler starts with stay light."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "numpy", "pandas", "pyarrow", "codecarbon", "pytorch_lightning")
IMPORT_S_MAX = 0.18
"""Three times the budget of 60 ms, for a busy machine."""

LIGHT = (
    "greenai",
    "greenai.settings",
    "greenai.sensors",
    "greenai.record.types",
    "greenai.exporters.figures",
    "greenai.exporters.endpoint",
    *(
        f"greenai.{folder}.{path.stem}"
        for folder in ("live", "sensors")
        for path in sorted((ROOT / "greenai" / folder).glob("*.py"))
        if path.stem not in {"__init__", "bootstrap"}  # bootstrap is a script: it would run
    ),
)

REPORT = """
import importlib, json, sys
loaded = {}
for name in json.loads(sys.argv[1]):
    before = set(sys.modules)
    importlib.import_module(name)
    tops = {one.partition(".")[0] for one in set(sys.modules) - before}
    loaded[name] = sorted(tops - sys.stdlib_module_names - {"greenai"})
print(json.dumps(loaded))
"""


def third_parties_loaded_by(folder: Path, *names: str) -> dict[str, list[str]]:
    """Top-level names outside the standard library that each import added, in one new process."""
    answer = subprocess.run(
        [sys.executable, "-c", REPORT, json.dumps(names)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    loaded: dict[str, list[str]] = json.loads(answer.stdout)
    return loaded


def fastest_run_s(code: str, folder: Path) -> float:
    def once() -> float:
        before = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, timeout=60)
        return time.perf_counter() - before

    return min(once() for _ in range(5))


@pytest.mark.parametrize("name", HEAVY)
def test_the_heavy_ones_are_there_to_be_loaded_by_mistake(name: str) -> None:
    assert importlib.util.find_spec(name) is not None


def test_importing_greenai_loads_no_third_party(tmp_path: Path) -> None:
    assert third_parties_loaded_by(tmp_path, "greenai") == {"greenai": []}


def test_the_public_names_can_be_listed_without_loading_them(tmp_path: Path) -> None:
    code = "import greenai, sys; dir(greenai); assert 'greenai.api' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=60)


def test_all_that_the_sampler_starts_with_is_of_the_standard_library(tmp_path: Path) -> None:
    loaded = third_parties_loaded_by(tmp_path, *LIGHT)
    assert {name: parties for name, parties in loaded.items() if parties} == {}


def test_importing_greenai_takes_no_time(tmp_path: Path) -> None:
    bare_s = fastest_run_s("pass", tmp_path)
    assert fastest_run_s("import greenai", tmp_path) - bare_s < IMPORT_S_MAX
