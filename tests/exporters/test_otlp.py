"""Laws of what an OpenTelemetry collector gets, decoded as it would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from simulation.receiver import Receiver as Stand

from greenai.exporters.delivery import Receiver, UndeliveredError
from greenai.exporters.figures import DeviceFigures, Figures, StepHistogram
from greenai.exporters.prometheus import registry_of

service = pytest.importorskip(
    "opentelemetry.proto.collector.metrics.v1.metrics_service_pb2",
    reason='OTLP needs "greenai[otlp]"',
)
otlp = pytest.importorskip("greenai.exporters.otlp", reason='OTLP needs "greenai[otlp]"')

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW_NS = 1_800_000_000_000_000_000


@pytest.fixture
def stand() -> Iterator[Stand]:
    stand = Stand()
    yield stand
    stand.close()


def figures() -> Figures:
    steps = StepHistogram.of_energy()
    for value in (0.05, 0.3, 2.0):
        steps.observe(value, step=1)
    gpu = DeviceFigures(
        device="gpu0", kind="gpu", uuid="GPU-1", model="H100", vendor="NVIDIA", power_w=250.0,
        energy_j_by_phase={"train_step": 90.0, "validation": 10.0},
    )  # fmt: skip
    dram = DeviceFigures(device="dram-0", kind="dram", energy_j_by_phase={"train_step": 5.0})
    return Figures(
        run_id="abc", attempt=1, devices=(gpu, dram), tokens=42.0, pue=1.2, step_energy_j=steps
    )


def sender(stand: Stand, clock: list[int]) -> Any:
    return otlp.OtlpSender(
        Receiver("OTLP", stand.url + "/v1/metrics", "Bearer hunter2"),
        registry_of(figures),
        clock_ns=lambda: clock[0],
    )


def metrics(stand: Stand) -> dict[str, Any]:
    request = service.ExportMetricsServiceRequest.FromString(stand.received[-1].body)
    (resource,) = request.resource_metrics
    assert {one.key for one in resource.resource.attributes} >= {"service.name", "host.name"}
    return {one.name: one for one in resource.scope_metrics[0].metrics}


def attributes(point: Any) -> dict[str, str]:
    return {one.key: one.value.string_value for one in point.attributes}


def test_devices_come_under_the_names_of_the_conventions(stand: Stand) -> None:
    sender(stand, [NOW_NS]).deliver()
    found = metrics(stand)
    energy = found["hw.energy"]
    assert (energy.unit, energy.sum.is_monotonic) == ("J", True)
    by_id = {attributes(one)["hw.id"]: one for one in energy.sum.data_points}
    assert {name: one.as_double for name, one in by_id.items()} == {"GPU-1": 100.0, "dram-0": 5.0}
    assert attributes(by_id["GPU-1"]) == {
        "hw.id": "GPU-1", "hw.type": "gpu", "hw.name": "gpu0", "hw.model": "H100",
        "hw.vendor": "NVIDIA", "greenai.run_id": "abc", "greenai.attempt": "1",
        "greenai.rank": "0",
    }  # fmt: skip
    assert attributes(by_id["dram-0"])["hw.type"] == "memory"
    (power,) = found["hw.power"].gauge.data_points  # the memory's is not known, so it has none
    assert (found["hw.power"].unit, power.as_double) == ("W", 250.0)


def test_the_catalogue_comes_under_its_own_names(stand: Stand) -> None:
    clock = [NOW_NS]
    one = sender(stand, clock)
    clock[0] += 15 * 10**9
    one.deliver()
    found = metrics(stand)
    tokens = found["greenai_tokens"].sum
    assert (tokens.is_monotonic, tokens.aggregation_temporality) == (True, 2)  # cumulative
    assert tokens.data_points[0].as_double == 42.0
    assert tokens.data_points[0].start_time_unix_nano == NOW_NS
    assert tokens.data_points[0].time_unix_nano == clock[0]
    assert found["greenai_energy_joules"].unit == "J"
    assert found["greenai_pue_ratio"].gauge.data_points[0].as_double == 1.2
    assert found["greenai_run_info"].gauge.data_points[0].as_double == 1.0
    (steps,) = found["greenai_step_energy_joules"].histogram.data_points
    assert (steps.count, steps.sum) == (3, pytest.approx(2.35))
    assert list(steps.bucket_counts) == [1, 1, 0, 1, *[0] * 9]
    assert list(steps.explicit_bounds[:3]) == pytest.approx([0.1, 0.4, 1.6])
    assert not steps.HasField("min")
    assert stand.received[-1].headers["Authorization"] == "Bearer hunter2"
    assert stand.received[-1].headers["Content-Type"] == "application/x-protobuf"
    assert stand.received[-1].path == "/v1/metrics"


def test_a_receiver_that_fails_gets_the_whole_with_what_comes_next(stand: Stand) -> None:
    clock = [NOW_NS]
    one = sender(stand, clock)
    stand.answers, stand.headers = [503], {"Retry-After": "30"}
    with pytest.raises(UndeliveredError) as refused:
        one.deliver()
    assert refused.value.again
    clock[0] += 15 * 10**9
    with pytest.raises(UndeliveredError):
        one.deliver()  # it asked for a pause
    assert len(stand.received) == 1
    one.deliver(final=True)
    assert len(stand.received) == 2
    stand.answers = [400]
    clock[0] += 60 * 10**9
    with pytest.raises(UndeliveredError) as refused:
        one.deliver()
    assert not refused.value.again
