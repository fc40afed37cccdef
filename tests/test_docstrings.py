"""Every example in a docstring runs and gives what it says."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HOMES = {
    "greenai": ROOT / "greenai",
    **{f"greenai.{name}": ROOT / name for name in ("callbacks", "exporters", "dashboards")},
}
MODULES = [
    ".".join((package, *path.relative_to(home).with_suffix("").parts)).removesuffix(".__init__")
    for package, home in HOMES.items()
    for path in sorted(home.glob("**/*.py"))
    if ">>>" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0, capsys.readouterr().out
