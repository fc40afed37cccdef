"""Laws of the callback of Keras that no other loop has."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
import torch

if find_spec("keras") is None:
    pytest.skip("keras comes with the extra dev", allow_module_level=True)

from trainings.keras import keras

from greenai.callbacks.keras import EnergyCallback

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation"
)  # Keras's own way from torch to numpy
DATA = (torch.ones(6, 4), torch.ones(6, 1))


@pytest.fixture
def model() -> Any:
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    made.compile("sgd", loss="mse")
    return made


def test_nobody_makes_keras_wait_for_the_metrics_of_a_batch() -> None:
    """Given a callback for the ends of batches, Keras fetches the metrics at each of them."""
    for name in ("on_batch_end", "on_train_batch_end", "on_test_batch_end", "on_predict_batch_end"):
        assert keras.src.utils.is_default(getattr(EnergyCallback, name))


def test_another_fit_with_the_same_callback_goes_on(model: Any, trackers: Any) -> None:
    callback = EnergyCallback("run", print_summary=False)
    for _ in range(2):
        model.fit(*DATA, batch_size=2, verbose=0, callbacks=[callback])
    first, second = trackers
    assert second.facts["resume_run_id"] == first.run_id
    assert [step["index"] for step in first.steps + second.steps] == [0, 1, 2, 3, 4, 5]
    assert first.facts["framework"].startswith("keras 3.")


@pytest.mark.parametrize(("name", "phase"), [("evaluate", "test"), ("predict", "predict")])
def test_what_is_no_fit_is_a_phase_of_its_own(
    name: str, phase: str, model: Any, trackers: Any
) -> None:
    callback = EnergyCallback("run", print_summary=False)
    data = DATA if name == "evaluate" else DATA[:1]
    getattr(model, name)(*data, verbose=0, callbacks=[callback])
    assert trackers[0].names == ["start", f"begin {phase}", f"end {phase}", "stop"]
