"""Fixtures for all tests: simulated hardware."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest
from simulation.fake_nvml import FakeNvml
from simulation.perf_power import PerfPower
from simulation.powercap import PowercapTree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Before torch is loaded, here and in what tests start: threads that spin for one another make a
# small model ten times slower as soon as anything else runs.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell starts what runs beside it deaf to Ctrl-C, nohup to a hang-up, and children inherit that.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what greenai caches out of the user's folder; processes that tests start inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GREENAI_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def compiled_nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not sys.platform.startswith("linux"):
        pytest.skip("the simulated NVML is a Linux library")
    if FakeNvml.compiler() is None:
        pytest.skip("no C compiler (cc, gcc, clang) to build the simulated NVML with")
    return FakeNvml.compiled(tmp_path_factory.mktemp("nvml")).folder


@pytest.fixture
def fake_nvml(compiled_nvml: Path) -> FakeNvml:
    """Simulated GPUs for processes that the test starts; see simulation/fake_nvml.py."""
    return FakeNvml(compiled_nvml)


@pytest.fixture
def powercap_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PowercapTree:
    """Empty powercap tree; see simulation/powercap.py."""
    denied: set[str] = set()
    real_open = os.open

    def open_unless_denied(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if str(path) in denied:
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", open_unless_denied)
    root = tmp_path / "sys" / "class" / "powercap"
    root.mkdir(parents=True)
    return PowercapTree(root, denied)


@pytest.fixture
def perf_power(powercap_tree: PowercapTree) -> Iterator[PerfPower]:
    """PMU ``power`` beside the powercap tree, empty; see simulation/perf_power.py."""
    perf = PerfPower(powercap_tree.sys_root)
    yield perf
    perf.close()
