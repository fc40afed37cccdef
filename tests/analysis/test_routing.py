"""Laws of router loads: rows are shares, evenness has its known values, foreign facts are data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation.counters import marks_of

from greenai.analysis.routing import evenness, router_load_of_facts, router_load_of_marks
from greenai.record.types import STEP_END, VALUE


@given(st.lists(st.lists(st.floats(0.01, 1e6), min_size=3, max_size=3), min_size=1, max_size=4))
def test_loads_become_shares_and_are_never_evener_than_even(load: list[list[float]]) -> None:
    found = router_load_of_facts({"shares": load})
    assert found is not None
    assert found.share.sum(axis=1) == pytest.approx(1.0)
    assert found.imbalance >= 1 - 1e-12
    assert found.variation >= 0


def test_an_even_load_has_no_imbalance_and_a_single_expert_all_of_it() -> None:
    assert evenness(np.full((2, 8), 1 / 8)) == (1.0, 0.0)
    imbalance, variation = evenness(np.eye(1, 8))
    assert (imbalance, variation) == (8.0, pytest.approx(math.sqrt(7)))


@pytest.mark.parametrize(
    "facts",
    [None, "text", 3, [], [[]], {"shares": None}, {}, [[[0.5]]], [-1.0, 2.0], [math.nan, 1.0]],
)
def test_facts_that_are_no_loads_say_nothing(facts: object) -> None:
    assert router_load_of_facts(facts) is None


def test_what_the_facts_do_not_say_is_unknown() -> None:
    found = router_load_of_facts([0.5, 0.5])
    assert found is not None
    assert math.isnan(found.drop_share)
    assert math.isnan(found.auxiliary_loss)


def test_marks_are_averaged_over_the_run_by_router_and_expert() -> None:
    rows = [
        (10, VALUE, "router_load/0", 0, 0.75),
        (10, VALUE, "router_load/0", 1, 0.25),
        (10, VALUE, "router_imbalance", 4, 1.5),
        (20, VALUE, "router_load/0", 0, 0.25),
        (20, VALUE, "router_load/0", 1, 0.75),
        (20, VALUE, "router_imbalance", 9, 1.1),
        (20, STEP_END, "", 9, 1.0),
    ]
    found = router_load_of_marks(marks_of(rows))
    assert found is not None
    assert found.share.tolist() == [[0.5, 0.5]]
    assert found.imbalance == pytest.approx(1.3)  # of the readings, not of their mean
    assert math.isnan(found.drop_share)


def test_a_run_without_routers_has_no_load() -> None:
    assert router_load_of_marks(marks_of([(10, STEP_END, "", 0, 1.0)])) is None


def test_an_index_from_elsewhere_does_not_take_the_memory() -> None:
    rows = [(10, VALUE, "router_load/0", 2**31, 0.5), (10, VALUE, "router_load/x", 0, 0.5)]
    assert router_load_of_marks(marks_of(rows)) is None
