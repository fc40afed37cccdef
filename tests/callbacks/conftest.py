from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch
import pytest
import pytorch_lightning
import torch
from torch.utils.data import DataLoader

import greenai.callbacks.trainers
from greenai.live.launch import Launch
from greenai.live.shared import Totals
from greenai.metrics import PLANNED_STEPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenai.settings import Settings

FOLDER = Path(__file__).parent
TREES = {"pytorch_lightning": pytorch_lightning, "lightning": lightning.pytorch}
ADVICE = (
    # Lightning's advice to its users, and its own use of a deprecated torch name.
    "ignore::lightning_fabric.utilities.warnings.PossibleUserWarning",
    "ignore::lightning.fabric.utilities.warnings.PossibleUserWarning",
    "ignore:.*isinstance.treespec, LeafSpec",
    "ignore:.*Checkpoint directory .* exists and is not empty",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if FOLDER in item.path.parents:
            for advice in ADVICE:
                item.add_marker(pytest.mark.filterwarnings(advice))


class RecordingTracker:
    """Keeps every call instead of marking; stands in for greenai.live.tracker.Tracker."""

    def __init__(self, settings: Settings, **facts: Any) -> None:
        self.settings = settings
        self.facts = facts
        self.run_id = facts["resume_run_id"] or f"run{id(self)}"
        self.run_folder = settings.run_folder()
        self.launch = Launch("launch")
        self.calls: list[tuple[Any, ...]] = []
        self.planned: list[float] = []
        self.active = False
        self.known = Totals(steps=0.0)

    @property
    def names(self) -> list[str]:
        return [
            " ".join(str(part) for part in call if isinstance(part, str)) for call in self.calls
        ]

    @property
    def steps(self) -> list[dict[str, Any]]:
        return [call[1] for call in self.calls if call[0] == "step"]

    def start(self) -> RecordingTracker:
        self.calls.append(("start",))
        self.active = True
        return self

    def train_start(self) -> None:
        self.calls.append(("train_start",))

    def begin(self, phase: str) -> None:
        self.calls.append(("begin", phase))

    def end(self, phase: str) -> None:
        self.calls.append(("end", phase))

    def step(self, **facts: Any) -> None:
        self.calls.append(("step", facts))

    def value(self, name: str, value: float, index: int) -> None:
        if name == PLANNED_STEPS:
            self.planned.append(value)
        else:
            self.calls.append(("value", name, value, index))

    def totals(self) -> Totals:
        return self.known

    def stop(self, *, wait: bool | None = None) -> Totals:
        del wait
        self.calls.append(("stop",))
        self.active = False
        return self.known


@pytest.fixture
def trackers(monkeypatch: pytest.MonkeyPatch) -> list[RecordingTracker]:
    """Every tracker that a callback makes, in order; none of them is real."""
    made: list[RecordingTracker] = []

    def make(settings: Settings, **facts: Any) -> RecordingTracker:
        made.append(RecordingTracker(settings, **facts))
        return made[-1]

    monkeypatch.setattr(greenai.callbacks.trainers, "Tracker", make)
    return made


@pytest.fixture(params=sorted(TREES))
def tree(request: pytest.FixtureRequest) -> Any:
    """Each of the two Lightnings."""
    return TREES[request.param]


def model_of(tree: Any) -> Any:
    class Model(tree.LightningModule):  # type: ignore[misc] # lightning is not followed
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            del batch_idx
            return self.layer(batch).square().mean()

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.training_step(batch, batch_idx)

        test_step = validation_step

        def predict_step(self, batch: Any, batch_idx: int) -> Any:
            del batch_idx
            return self.layer(batch)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    torch.manual_seed(3)
    return Model()


def data(batches: int = 5, size: int = 3) -> DataLoader[Any]:
    rows = torch.arange(batches * size * 4, dtype=torch.float32).reshape(-1, 4) / 100
    return DataLoader(rows, batch_size=size)


class Bench:
    """Makes models, data and trainers of one Lightning."""

    def __init__(self, tree: Any, folder: Path) -> None:
        self.tree, self.folder = tree, folder

    def model(self) -> Any:
        return model_of(self.tree)

    data = staticmethod(data)

    def trainer(self, *callbacks: Any, **arguments: Any) -> Any:
        quiet = {
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": 1,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": self.folder / "lightning",
        }
        return self.tree.Trainer(**{**quiet, **arguments}, callbacks=list(callbacks))

    def fit(self, *callbacks: Any, batches: int = 5, model: Any = None, **arguments: Any) -> Any:
        model = model or self.model()
        trainer = self.trainer(*callbacks, **arguments)
        trainer.fit(model, self.data(batches))
        return model


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(pytorch_lightning, tmp_path)


@pytest.fixture
def bench_of() -> Callable[[Any, Path], Bench]:
    return Bench
