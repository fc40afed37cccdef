from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from greenai.workloads.data import load_text

if TYPE_CHECKING:
    from greenai.workloads.data import Text


@pytest.fixture(scope="session")
def text() -> Text:
    return load_text(max_bytes=400_000)
