"""Laws of what is found in a batch: what it does not tell is unknown, never zero."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from greenai.callbacks.batches import StepFacts, count, plain_number, samples_in, tokens_in

Pair = namedtuple("Pair", "x y")  # noqa: PYI024 - as a collate function makes it


@dataclass
class Typed:
    name: str
    x: torch.Tensor


IDS = torch.ones(2, 8, dtype=torch.long)


@pytest.mark.parametrize(
    ("batch", "samples"),
    [
        (torch.zeros(4, 2), 4),
        ([torch.zeros(5, 2), torch.zeros(7)], 5),
        ({"name": "a", "x": {"deep": torch.zeros(6)}}, 6),
        (Pair(torch.zeros(3), None), 3),
        (Typed("a", torch.zeros(2)), 2),
        ((torch.tensor(1.0), torch.zeros(9)), 9),
        (torch.tensor(1.0), None),
        ("text", None),
        (None, None),
        ([], None),
        ([[[[[[torch.zeros(2)]]]]]], None),
    ],
)
def test_samples_are_the_first_dimension_of_the_first_tensor(batch: Any, samples: Any) -> None:
    assert samples_in(batch) == samples


@pytest.mark.parametrize(
    ("batch", "tokens"),
    [
        ({"input_ids": IDS}, 16),
        ({"input_ids": IDS, "attention_mask": torch.tensor([[1] * 8, [0] * 6 + [1] * 2])}, 10),
        ({"input_ids": IDS, "attention_mask": torch.ones(2, 1)}, 16),
        ({"input_ids": IDS.float()}, None),
        ({"input_ids": IDS[0]}, None),
        ({"input_ids": [1, 2]}, None),
        ({"pixels": IDS}, None),
        ((IDS, IDS), None),
        (None, None),
    ],
)
def test_tokens_are_counted_where_the_batch_names_them(batch: Any, tokens: Any) -> None:
    assert tokens_in(batch) == tokens


def test_on_a_device_the_mask_is_not_looked_at() -> None:
    mask = torch.zeros(2, 8, device="meta")  # a device whose values cannot be read at all
    assert tokens_in({"input_ids": IDS.to("meta"), "attention_mask": mask}) == 16


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (2, 2.0),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3.0),
        (torch.tensor(1.5, requires_grad=True), 1.5),
        (torch.zeros(2), None),
        (torch.tensor(1.0, device="meta"), None),
        ("1", None),
        (None, None),
    ],
)
def test_a_number_is_read_only_where_that_costs_nothing(value: Any, number: Any) -> None:
    assert plain_number(value) == number


def test_what_the_user_gives_is_taken_before_what_is_found() -> None:
    batch = torch.zeros(4)
    assert count(None, samples_in, batch) == 4
    assert count(7, samples_in, batch) == 7
    assert count(lambda one: one.numel() * 2, samples_in, batch) == 8
    assert count(lambda one: one.to("meta").sum(), samples_in, batch) is None


def test_one_unknown_batch_makes_the_step_unknown() -> None:
    facts = StepFacts()
    facts.add(tokens=1, samples=2, loss=None)
    facts.add(tokens=None, samples=2, loss=3.0)
    facts.add(tokens=1, samples=2, loss=3.0)
    assert (facts.batches, facts.tokens, facts.samples, facts.mean_loss) == (3, None, 6, None)


def test_no_batches_have_no_mean_loss() -> None:
    assert StepFacts().mean_loss is None
