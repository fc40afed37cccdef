"""The README's commands and examples run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from greenai.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"make ([a-z-]+)", README))
    assert {"demo", "test", "test-all"} <= named <= targets


def test_every_file_named_exists() -> None:
    for name in re.findall(r"`((?:docs|greenai)/[\w./]+\.\w+)`|\((docs/[\w.]+)\)", README):
        assert (ROOT / (name[0] or name[1])).exists(), name


def test_the_demos_real_output_stands_there() -> None:
    shown = README.partition("<!-- demo -->")[2].partition("<!-- /demo -->")[0]
    for word in ("Energy per token", "Time per token", "sliding_window", "modelled", "page:"):
        assert word in shown


def test_every_setting_is_documented() -> None:
    for name in Settings.__dataclass_fields__:
        assert f"`{name}`" in README or name == "origins"


@pytest.mark.slow
def test_examples_and_commands_run(tmp_path: Path) -> None:
    environment = {**os.environ, "COLUMNS": "120", "GREENAI_CACHE_DIR": str(tmp_path / "cache")}
    outputs = []
    for code in blocks("python"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert "energy_j" in outputs[-1]
    bin_folder = Path(sys.executable).parent
    for line in "".join(blocks("console")).splitlines():
        command = line.removeprefix("$ ").split()
        assert command[0] == "greenai"
        done = subprocess.run(
            [str(bin_folder / "greenai"), *command[1:]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        # doctor says by its exit code whether anything is measured here
        assert done.returncode in ({0, 1} if command[1] == "doctor" else {0}), done.stderr
        assert done.stdout
