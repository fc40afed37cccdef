"""The totals of a run, written at its end to the logging targets that the user has open already.

Nothing is imported and nothing is opened: what is not in ``sys.modules`` is not in use. MLflow gets
metrics of the active run, W&B the summary of its run, TensorBoard scalars, where one writer alone
is open. Who logs through Lightning's loggers has the figures there.
"""

from __future__ import annotations

import gc
import logging
import math
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from greenai.live.tracker import Totals

WAIT_S = 1.0
"""A target that has not answered by then is left to itself; a server may never answer."""

_log = logging.getLogger("greenai")


class LoggingTargets:
    """What is open where a run starts and where it ends.

    Example:
        >>> from greenai.live.shared import Totals
        >>> LoggingTargets().log(Totals(energy_j=12.0), world_size=1)  # nothing is open here
    """

    def __init__(self) -> None:
        self._mlflow_run: str | None = None

    def look(self) -> None:
        """Note which MLflow run is active; a trainer may end it before our end."""
        self._try("MLflow", self._find_mlflow_run)

    def log(self, totals: Totals, *, world_size: int) -> None:
        """Write what is settled of a whole run; waits a second at most, and raises nothing.

        Args:
            totals: Of this process.
            world_size: Of several ranks each knows its own energy alone, which is no total: it
                is written nowhere. ``greenai.load`` adds them up.
        """
        figures = total_figures(totals)
        if not figures or world_size > 1:
            return
        self.look()  # here, because the active run belongs to a thread
        writing = threading.Thread(
            target=self._log_all, args=(figures, totals), name="greenai-log", daemon=True
        )
        self._try("The loggers", writing.start)
        if writing.ident is not None:
            writing.join(WAIT_S)

    def _find_mlflow_run(self) -> None:
        mlflow = sys.modules.get("mlflow")
        run = mlflow.active_run() if mlflow is not None else None
        if run is not None:
            self._mlflow_run = run.info.run_id

    def _log_all(self, figures: dict[str, float], totals: Totals) -> None:
        if self._mlflow_run is not None:
            mlflow = sys.modules["mlflow"]
            self._try("MLflow", mlflow.log_metrics, figures, run_id=self._mlflow_run)
        wandb_run = getattr(sys.modules.get("wandb"), "run", None)
        if wandb_run is not None:
            self._try("W&B", lambda: wandb_run.summary.update(figures))
        self._try("TensorBoard", _log_to_tensorboard, figures, totals)

    def _try(self, name: str, function: Callable[..., Any], *given: Any, **more: Any) -> None:
        try:
            function(*given, **more)
        except Exception as error:  # noqa: BLE001 - the border: a training does not end by its logger
            _log.warning("%s did not take the totals: %s: %s", name, type(error).__name__, error)


def total_figures(totals: Totals) -> dict[str, float]:
    """Name the totals of a run; what is unknown is left out.

    Example:
        >>> from greenai.live.shared import Totals
        >>> total_figures(Totals(energy_j=12.0, steps_j=10.0, known_tokens=5.0))
        {'greenai/energy_j': 12.0, 'greenai/j_per_token': 2.0}
    """
    figures = {
        "greenai/energy_j": totals.energy_j,
        "greenai/operational_co2e_g": totals.operational_co2e_g,
        "greenai/j_per_token": totals.j_per_token,
    }
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def _log_to_tensorboard(figures: dict[str, float], totals: Totals) -> None:
    writers = list(_open_writers())
    if len(writers) != 1:  # which of several is the run's nobody has told
        return
    step = int(totals.settled_step) if math.isfinite(totals.settled_step) else 0
    for name, value in figures.items():
        writers[0].add_scalar(name, value, global_step=step)


def _open_writers() -> Iterator[Any]:
    """Find the writers that are open: torch keeps no list of them, the garbage collector does."""
    module = sys.modules.get("torch.utils.tensorboard.writer")
    kind = getattr(module, "SummaryWriter", None)
    if kind is None:
        return
    for one in gc.get_referrers(kind):
        if type(one) is kind and getattr(one, "file_writer", None) is not None:
            yield one
