"""Laws of the border: no exception reaches a training, and each failure is said once."""

from __future__ import annotations

from typing import Any

import pytest

from greenai.callbacks.shield import Shielded, at_the_desk, protected
from greenai.errors import RecordError


class Adapter(Shielded):
    def __init__(self) -> None:
        super().__init__()
        self.closed = 0

    def _close(self) -> None:
        self.closed += 1

    @protected
    def hook(self, error: BaseException | None = None) -> str:
        if error is not None:
            raise error
        return "done"

    @at_the_desk
    def start(self, error: BaseException) -> None:
        raise error


def test_a_hook_that_fails_ends_the_metering_and_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    adapter = Adapter()
    assert adapter.hook() == "done"
    for _ in range(3):
        assert adapter.hook(ValueError("a bug")) is None
    assert adapter.hook() is None
    assert adapter.closed == 1
    assert caplog.text.count("ValueError: a bug") == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), GeneratorExit()])
def test_what_is_no_error_passes(error: BaseException) -> None:
    with pytest.raises(type(error)):
        Adapter().hook(error)


def test_in_a_hook_even_our_own_errors_stay_inside() -> None:
    assert Adapter().hook(RecordError("the disk is full")) is None


def test_at_the_desk_our_own_errors_pass_and_others_do_not() -> None:
    with pytest.raises(RecordError):
        Adapter().start(RecordError("read-only"))
    assert Adapter().start(OSError("no memory")) is None


def test_a_close_that_fails_too_is_said_and_stays_inside(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any) -> None:
        raise RuntimeError("and again")

    monkeypatch.setattr(Adapter, "_close", fail)
    assert Adapter().hook(ValueError("a bug")) is None
    assert caplog.text.count("and again") == 1


def test_what_is_only_tried_costs_itself_alone(caplog: pytest.LogCaptureFixture) -> None:
    adapter, tried = Adapter(), []

    def counting(value: int) -> float:
        tried.append(value)
        return 1 / value

    assert [adapter.attempt("Counting", counting, value) for value in (1, 0, 1)] == [1, None, None]
    assert tried == [1, 0]
    assert adapter.attempt("Logging", counting, 2) == 0.5
    assert adapter.hook() == "done"
    assert caplog.text.count("Counting failed") == 1
