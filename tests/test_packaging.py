"""Laws of what is shipped: the pins, the licence, and that the wheel holds all of the package."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import greenai

ROOT = Path(__file__).resolve().parent.parent
OUTER = ("callbacks", "exporters", "dashboards")


def project() -> dict[str, Any]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: dict[str, Any] = settings["project"]
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(file: str) -> dict[str, str]:
    """Version by distribution; a line that is no exact pin fails."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    matches = [
        (line, re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][0-9A-Za-z.]*)", line))
        for line in lines
        if line and not line.startswith("#")
    ]
    assert [line for line, match in matches if match is None] == []
    return {normal(match[1]): match[2] for _, match in matches if match}


def bounds(*extras: str) -> dict[str, str]:
    """Lower bound by distribution, of the base and of the extras."""
    wanted = list(project()["dependencies"])
    for extra in extras:
        wanted += project()["optional-dependencies"][extra]
    matches = [re.match(r"([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?>=([0-9.]+)", one) for one in wanted]
    return {normal(match[1]): match[2] for match in matches if match}


def test_every_direct_dependency_is_pinned() -> None:
    pinned = pins("constraints.txt")
    direct = bounds("codecarbon", "lightning", "test", "dev")
    assert set(direct) <= set(pinned)
    assert pinned["torch"] == "2.13.0"


def test_no_name_is_pinned_twice() -> None:
    for file in ("constraints.txt", "constraints-lowest.txt"):
        text = (ROOT / file).read_text(encoding="utf-8")
        assert text.count("==") == len(pins(file))


def test_the_lowest_versions_are_the_lower_bounds() -> None:
    lowest = pins("constraints-lowest.txt")
    for name, bound in bounds("codecarbon", "lightning").items():
        padded = [*lowest[name].split("."), "0"]
        assert padded[: len(bound.split("."))] == bound.split("."), name


def test_codecarbon_is_not_in_the_base() -> None:
    assert "codecarbon" not in bounds()


def test_the_version_is_said_once_and_alike() -> None:
    assert project()["version"] == greenai.__version__
    assert f"## [{greenai.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_licence_is_there_whole() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert all(f"   {number}. " in text for number in range(1, 10))
    assert project()["license"] == "Apache-2.0"


def files_of_the_package() -> set[str]:
    """Paths inside the wheel of all that the package consists of."""
    found = {f"greenai/{path.relative_to(ROOT / 'greenai')}" for path in ROOT.glob("greenai/**/*")}
    for folder in OUTER:
        inner = ROOT / folder
        found |= {f"greenai/{folder}/{path.relative_to(inner)}" for path in inner.glob("**/*")}
    kept = {
        ".py",
        ".typed",
        ".csv",
        ".json",
        ".md",
        ".js",
        ".css",
        ".txt",
        ".html",
        ".yml",
        ".yaml",
        ".toml",
    }
    return {path for path in found if Path(path).suffix in kept and "__pycache__" not in path}


@pytest.mark.slow
def test_the_wheel_built_from_the_source_archive_holds_the_whole_package(tmp_path: Path) -> None:
    pytest.importorskip("build")
    source = tmp_path / "source"
    shutil.copytree(
        ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "runs")
    )
    built = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, source],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    (archive,) = tmp_path.glob("*.tar.gz")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert files_of_the_package() <= names
    licences = f"greenai-{greenai.__version__}.dist-info/licenses/"
    assert {f"{licences}LICENSE", f"{licences}exporters/assets/LICENSE-uPlot.txt"} <= names
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"greenai", f"greenai-{greenai.__version__}.dist-info"}
    with tarfile.open(archive) as opened:
        members = {name.partition("/")[2] for name in opened.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "callbacks/__init__.py"} <= members
