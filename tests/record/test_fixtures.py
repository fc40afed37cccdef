"""Law: a record of every schema version stays loadable and gives the same numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import greenai
from greenai.record.types import SCHEMA_VERSION

TESTS = Path(__file__).parents[1]
FIXTURES = sorted((TESTS / "fixtures").glob("record-v*"))


def test_the_current_version_has_a_fixture() -> None:
    assert f"record-v{SCHEMA_VERSION}" in [folder.name for folder in FIXTURES]


@pytest.mark.parametrize("folder", FIXTURES, ids=lambda folder: folder.name)
def test_a_recorded_run_gives_the_same_numbers(folder: Path) -> None:
    """The golden file is `greenai export RUN --format json`, looked at before it is accepted."""
    summary = greenai.load(folder, intensity_table="codecarbon").summary()  # others get newer
    golden = json.loads((TESTS / "golden" / f"{folder.name}-summary.json").read_text())
    for key, expected in flat(golden).items():
        found = flat(summary)[key]
        known = pytest.approx(expected, rel=1e-9) if isinstance(expected, float) else expected
        assert found == known, key


def flat(plain: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by path, so that each is compared by itself."""
    values: dict[str, Any] = {}
    for key, value in plain.items():
        inner = flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        values |= inner
    return values
