from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from greenai.errors import OrderError
from greenai.workloads.architecture import ATTENTIONS, ModelConfig
from greenai.workloads.data import Text, load_text
from greenai.workloads.experts import Routing
from greenai.workloads.lightning_module import LanguageModel, lightning
from greenai.workloads.routing import RouterCourse
from greenai.workloads.training import StopAfter, find_kernel, quiet_lightning, train

if TYPE_CHECKING:
    from greenai.workloads.architecture import Attention, FeedForward

TINY = ModelConfig(sequence=32, layers=1, heads=2, width=16, feed_forward_width=32, window=8)
VARIANTS = [("moe", "sdpa"), *(("dense", attention) for attention in ATTENTIONS)]


class Witness(lightning.Callback):  # type: ignore[misc]  # lightning is not followed
    """Keeps what a callback sees of each step and ends after so many."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.batches: list[torch.Tensor] = []
        self.losses: list[float] = []

    def on_train_batch_end(
        self, trainer: Any, _module: Any, outputs: Any, batch: Any, *_: Any
    ) -> None:
        self.batches.append(batch[0].clone())
        self.losses.append(float(outputs["loss"]))
        trainer.should_stop = len(self.losses) >= self.steps


class Ticking:
    """A clock that goes on by one second whenever it is read."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1
        return self.now_s


def trained(config: ModelConfig, text: Text, seed: int, steps: int = 6) -> Witness:
    witness = Witness(steps)
    with quiet_lightning():
        train(
            config,
            text,
            batch=2,
            learning_rate=1e-3,
            seed=seed,
            limit_s=600,
            callbacks=[witness],
        )
    return witness


def test_repeats_of_one_seed_see_the_same_batches_in_every_variant(text: Text) -> None:
    dense = trained(TINY, text, seed=1)
    moe = trained(replace(TINY, feed_forward="moe"), text, seed=1)
    other = trained(TINY, text, seed=2)
    assert len(dense.batches) == 6
    assert torch.equal(torch.stack(dense.batches), torch.stack(moe.batches))
    assert not torch.equal(dense.batches[0], other.batches[0])


def test_one_seed_gives_one_training(text: Text) -> None:
    assert trained(TINY, text, seed=1).losses == trained(TINY, text, seed=1).losses


def test_training_leaves_the_generator_of_the_user_alone(text: Text) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    trained(TINY, text, seed=1, steps=1)
    assert torch.equal(torch.rand(3), expected)


def test_training_stops_after_the_step_in_which_its_time_ends() -> None:
    told: list[float] = []
    stop, trainer = StopAfter(3, told.append, clock=Ticking()), SimpleNamespace(should_stop=False)
    stop.on_train_start()
    stopped = []
    for _ in range(3):
        stop.on_train_batch_end(trainer)
        stopped.append(trainer.should_stop)
    assert stopped == [False, False, True]
    assert told == [1, 2, 3]


def test_the_loss_is_the_cross_entropy_alone_and_still_trains_the_router(text: Text) -> None:
    config = replace(TINY, feed_forward="moe", top_k=1, balance_weight=10.0)
    module = LanguageModel(config, learning_rate=1e-3)
    batch = tuple(
        torch.from_numpy(text.training[n : n + 64].astype("int64")).view(2, 32) for n in (0, 1)
    )
    loss = module.training_step(batch, 0)["loss"]
    assert loss.item() == pytest.approx(module.held_out_loss([batch]), rel=1e-6)
    loss.backward()
    # With one expert a token the gate is always 1: only the balance loss reaches the router.
    assert module.model.blocks[0].feed_forward.router.weight.grad.abs().max() > 0


def test_a_training_whose_time_is_over_at_once_still_makes_one_step(text: Text) -> None:
    witness = Witness(steps=100)
    with quiet_lightning():
        left = train(
            TINY, text, batch=2, learning_rate=1e-3, seed=0, limit_s=0, callbacks=[witness]
        )
    assert len(witness.losses) == 1
    assert 0 < left.held_out_loss_nats < 10
    assert left.router_load is None


def test_a_training_ends_after_so_many_steps_where_they_are_counted(text: Text) -> None:
    witness = Witness(steps=100)
    with quiet_lightning():
        train(TINY, text, batch=2, learning_rate=1e-3, seed=0, steps=3, callbacks=[witness])
    assert len(witness.losses) == 3


def test_the_routers_load_is_that_of_the_training_and_not_of_the_validation(text: Text) -> None:
    config = replace(TINY, feed_forward="moe", experts=4, top_k=2, layers=2)
    with quiet_lightning():
        left = train(config, text, batch=2, learning_rate=1e-3, seed=0, steps=5)
    load = left.router_load
    assert load is not None
    assert load["assignments"] == 5 * 2 * 32 * config.top_k * config.layers
    assert [sum(shares) for shares in load["shares"]] == pytest.approx([1, 1])
    assert load["dropped"] == 0
    assert 1 <= load["imbalance"] <= 4
    assert 0.5 < load["balance_loss"] < 4
    assert [point["step"] for point in load["course"]] == [0, 1, 2, 3, 4]
    assert load["course"][-1]["imbalance"] == load["imbalance"]


def test_a_long_course_is_thinned_evenly() -> None:
    course = RouterCourse()
    block = [Routing(torch.tensor([2, 1]), torch.tensor(0), torch.tensor(1.0))]
    for step in range(5000):
        course.offer(step, block)
    steps = [point["step"] for point in course.to_json()]
    assert len(steps) <= 64
    assert {later - earlier for earlier, later in pairwise(steps)} == {128}
    assert steps[0] == 0


def test_what_computes_attention_is_found_before_training() -> None:
    assert find_kernel(TINY, batch=2) == "flash"
    assert find_kernel(replace(TINY, attention="linear"), batch=2) == "chunked"


def test_lightning_is_quiet_within_and_as_before_afterwards(
    text: Text, capfd: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("pytorch_lightning")
    level, filters = logger.level, list(warnings.filters)
    trained(TINY, text, seed=0, steps=1)
    assert capfd.readouterr() == ("", "")
    assert logger.level == level
    assert list(warnings.filters) == filters


def test_too_small_a_text_is_refused_before_training(text: Text) -> None:
    small = Text(text.training, text.validation[:10], "a file of text", "")
    with pytest.raises(OrderError, match="too small"):
        train(TINY, small, batch=2, learning_rate=1e-3, seed=0, limit_s=1)


@pytest.mark.parametrize(("feed_forward", "attention"), VARIANTS)
def test_every_variant_learns_more_than_the_frequency_of_bytes(
    feed_forward: FeedForward, attention: Attention
) -> None:
    text = load_text(max_bytes=1_000_000)
    config = ModelConfig(
        feed_forward,
        attention,
        sequence=64,
        layers=2,
        width=64,
        feed_forward_width=128,
        window=16,
        chunk=16,
    )
    with quiet_lightning():
        left = train(config, text, batch=16, learning_rate=3e-3, seed=0, steps=150)
    assert left.held_out_loss_nats < text.unigram_entropy_nats() - 0.1
