"""Laws of the real card's code, as far as a CPU and a stand-in for its clock can tell."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from gpu import card as cards  # noqa: E402 - without torch there is nothing to try


class Event:
    def __init__(self, *, enable_timing: bool) -> None:
        assert enable_timing
        self.t_ns = 0

    def record(self) -> None:
        self.t_ns = time.monotonic_ns()

    def query(self) -> bool:
        return self.t_ns > 0

    def elapsed_time(self, later: Event) -> float:
        return (later.t_ns - self.t_ns) / 1e6


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> cards.CudaCard:
    """Works on the CPU; what torch.cuda is asked for is a stand-in."""
    properties = SimpleNamespace(uuid="0123-4567")
    cuda: Any = SimpleNamespace(
        is_bf16_supported=lambda: True,
        current_device=lambda: 0,
        get_device_properties=lambda _: properties,
        Event=Event,
        synchronize=lambda: None,
        current_stream=lambda: "stream",
        is_current_stream_capturing=lambda: False,
    )
    monkeypatch.setattr(cards, "SIZE", 48)
    monkeypatch.setattr(cards, "SMALL", 8)
    return cards.CudaCard("cpu", cuda)


def test_the_card_works_and_knows_how_long_a_unit_takes(card: cards.CudaCard) -> None:
    assert 0 < card.light_s < 1
    assert 0 < card.unit_s < 1
    assert card.uuid == "GPU-0123-4567"
    first = card.event()
    card.heavy(3)
    card.light(3)
    last = card.event()
    card.synchronize()
    assert card.passed(last)
    assert card.elapsed_ms(first, last) > 0
    assert card.stream() == "stream"
    assert not card.capturing()


def test_products_stay_of_the_size_of_their_factors(card: cards.CudaCard) -> None:
    """Work on zeros or on numbers without end draws another power."""
    card.heavy(20)
    spread = float(card._out.float().std())
    assert 0.01 < spread < 10
    assert bool(torch.isfinite(card._out).all())
