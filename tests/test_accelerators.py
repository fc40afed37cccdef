"""Laws of the table of rates: dense figures with their source, and no guess at a device."""

from __future__ import annotations

import csv
import math

import pytest

from greenai import accelerators

WITH_SPARSITY = {1979e12, 1978.9e12, 1978.8e12, 624e12, 4500e12, 250e12, 330.4e12}


def rows() -> list[dict[str, str]]:
    with accelerators.TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_figure_has_a_source_and_a_date() -> None:
    for row in rows():
        assert row["source"]
        assert row["looked_up"].startswith("2026-")
        assert row["names"]


def test_no_device_stands_in_the_table_twice() -> None:
    names = [name for row in rows() for name in row["names"].split(";")]
    assert len(names) == len(set(names))


def test_no_sixteen_bit_rate_is_one_with_sparsity() -> None:
    for row in rows():
        for precision in ("bf16", "fp16"):
            rate = row[f"{precision}_flop_per_s"]
            assert not rate or float(rate) not in WITH_SPARSITY


def test_rates_rise_as_precision_falls() -> None:
    for row in rows():
        listed = [row[f"{name}_flop_per_s"] for name in ("fp32", "tf32", "fp16", "fp8")]
        known = [float(rate) for rate in listed if rate]
        assert known == sorted(known)


@pytest.mark.parametrize(
    ("model", "rate"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("A100-SXM4-40GB", 312e12),
        ("Tesla T4", 65e12),
    ],
)
def test_a_device_is_found_by_the_name_that_its_driver_gives(model: str, rate: float) -> None:
    assert accelerators.peak(model).flop_per_s == rate


@pytest.mark.parametrize(
    "model", ["", "AMD EPYC 9654", "NVIDIA H100", "NVIDIA A100-SXM4-80GB MIG 1g.10gb", "H100 NVL"]
)
def test_a_device_that_the_table_does_not_have_is_unknown(model: str) -> None:
    assert math.isnan(accelerators.peak(model).flop_per_s)


def test_a_precision_that_a_device_has_no_rate_for_is_unknown() -> None:
    assert math.isnan(accelerators.peak("Tesla T4", "fp8").flop_per_s)
    assert math.isnan(accelerators.peak("NVIDIA H200", "int3").flop_per_s)
