"""Law of the folder's door: the types alone load neither numpy nor pyarrow."""

from __future__ import annotations

import subprocess
import sys

import pytest

import greenai.record


def test_claiming_a_folder_loads_the_standard_library_alone() -> None:
    code = (
        "import sys, greenai.record.manifest, greenai.record.types\n"
        "from greenai.record import Anchor, claim_run\n"
        "print(sorted({'numpy', 'pyarrow', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    for name in greenai.record.__all__:
        assert getattr(greenai.record, name).__name__ == name
    with pytest.raises(AttributeError):
        greenai.record.nothing  # noqa: B018 - the access is what is tested
