"""Fixtures: the dashboards as they are shipped."""

from __future__ import annotations

from typing import Any

import pytest
from simulation.grafana_text import load

from greenai.dashboards import DASHBOARDS, text_of


@pytest.fixture(scope="session")
def shipped() -> dict[str, dict[str, Any]]:
    """Each dashboard by name."""
    return {name: load(text_of(name)) for name in DASHBOARDS}
