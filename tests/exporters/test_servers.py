"""Laws of the ways out, told by the real servers about real jobs on a simulated 250 W device."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from simulation import servers
from simulation.fake_nvml import FakeNvml
from simulation.servers import query, until, value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

WATTS = 250.0
TOKEN = "a-token-of-this-test"  # noqa: S105 - opens nothing
WINDOW_S = 30
JOB = """
import sys, time, pathlib, greenai
folder, stop = sys.argv[1], pathlib.Path(sys.argv[2])
with greenai.track(folder, sensors=["nvml"], metrics_port=0, resume=len(sys.argv) > 3) as tracker:
    while not stop.exists():
        time.sleep(0.1)
        tracker.step(tokens=100, samples=4, loss=1.0)
"""
ENERGY = "greenai_energy_joules_total"


class Job:
    """A training process that goes on until it is told to stop."""

    def __init__(self, nvml: FakeNvml, root: Path, name: str, **outlets: str) -> None:
        self.folder = root / name
        self._root = root
        self._environment = {
            **nvml.environment(low_w=WATTS, high_w=WATTS, refresh_ms=20),
            "GREENAI_METRICS_TOKEN": TOKEN,
            "GREENAI_METRICS_FILE_SD": str(root / "targets" / "{run_id}.json"),
            "GREENAI_METRICS_INTERVAL_S": "1",
            **{f"GREENAI_METRICS_{key.upper()}": text for key, text in outlets.items()},
        }
        self._starts = 0
        self.start()

    def start(self) -> None:
        self._starts += 1
        self._stop = self._root / f"stop-{self.folder.name}-{self._starts}"
        again = ["resume"] if self._starts > 1 else []
        self._process = subprocess.Popen(
            [sys.executable, "-c", JOB, str(self.folder), str(self._stop), *again],
            env=self._environment,
        )

    @property
    def run_id(self) -> str:
        manifest = until(
            lambda: (file := self.folder / "manifest.json").exists() and file.read_text()
        )
        return str(json.loads(str(manifest))["run_id"])

    def stop(self) -> None:
        """Let it end by itself."""
        self._stop.touch()
        assert self._process.wait(30) == 0

    def kill(self) -> None:
        """End it and its sampler as a node's failure would."""
        process = psutil.Process(self._process.pid)
        for one in (*process.children(recursive=True), process):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)
        self._process.wait(30)

    def end(self) -> None:
        self._stop.touch()
        with contextlib.suppress(psutil.NoSuchProcess):
            self.kill()

    def summary(self) -> dict[str, Any]:
        """What the record says, once nobody writes it any more."""
        from greenai import load  # noqa: PLC0415 - loads pandas

        return load(self.folder).summary()

    def closed_j(self) -> float:
        """Energy of all attempts as their samplers closed it; the record's, to within some ms of
        power at the end, where reads that came late are dated by those around them.
        """
        lives = [json.loads(file.read_text()) for file in self.folder.glob("rank-0/*/live.json")]
        assert all(one["closed"] for one in lives)
        closed_j = sum(one["energy_j"] for one in lives)
        assert closed_j == pytest.approx(self.summary()["energy_j"], abs=0.01 * WATTS * 2)
        return float(closed_j)


@dataclasses.dataclass
class World:
    """Servers, and jobs that have ended."""

    prometheus: str
    gateway: str
    victoria: str
    root: Path
    whole: Job
    resumed: Job
    killed: Job
    power_w: list[float] = dataclasses.field(default_factory=list)
    scrape: str = ""


def samples(url: str, job: Job, labels: str = 'job="pull"') -> float:
    """How often the run's step counter has come, over all attempts."""
    selector = f'greenai_optimizer_steps_total{{{labels},run_id="{job.run_id}"}}'
    return value(url, f"max(count_over_time({selector}[5m]))") or 0.0


@pytest.fixture(scope="module")
def world(compiled_nvml: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("world")
    (root / "targets").mkdir()
    certificate = servers.certificate(root)
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(servers.pushgateway(root))
        node = stack.enter_context(servers.node_exporter(root))
        victoria = stack.enter_context(servers.victoria_metrics(root))
        config = servers.PROMETHEUS.format(
            token=TOKEN,
            certificate=certificate,
            targets=root / "targets",
            gateway=gateway.removeprefix("http://"),
            node=node.removeprefix("http://"),
        )
        prometheus = stack.enter_context(servers.prometheus(root / "prometheus", config))
        nvml = FakeNvml(compiled_nvml)
        whole = Job(
            nvml, root, "whole", textfile=str(root / "whole.prom"), pushgateway=gateway,
            remote_write=f"{prometheus}/api/v1/write",
        )  # fmt: skip
        stack.callback(whole.end)
        resumed = Job(nvml, root, "resumed", remote_write=f"{victoria}/api/v1/write")
        stack.callback(resumed.end)
        killed = Job(nvml, root, "killed", certfile=str(certificate))  # told by __scheme__
        stack.callback(killed.end)
        world = World(prometheus, gateway, victoria, root, whole, resumed, killed)
        _let_it_happen(world)
        yield world


def _let_it_happen(world: World) -> None:
    url = world.prometheus
    until(lambda: samples(url, world.killed) >= 6, what="samples of the job to be killed")
    world.killed.kill()
    until(lambda: samples(url, world.resumed) >= 6, what="samples of the first attempt")
    world.resumed.stop()
    world.resumed.start()
    until(lambda: samples(url, world.whole) > WINDOW_S + 4, 90, "samples of the whole job")
    target = json.loads((world.root / "targets" / f"{world.whole.run_id}.json").read_text())
    request = urllib.request.Request(
        f"http://{target[0]['targets'][0]}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}
    )
    with urllib.request.urlopen(request) as answer:
        world.scrape = answer.read().decode()
    now_s = time.time()
    rate = f'sum(rate({ENERGY}{{job="pull",run_id="{world.whole.run_id}"}}[{WINDOW_S}s]))'
    for back_s in range(4):
        world.power_w.append(value(url, rate, now_s - back_s) or 0.0)
    world.whole.stop()
    second = 'job="pull",attempt="1"'
    until(lambda: samples(url, world.resumed, second) >= 4, what="samples of the second attempt")
    world.resumed.stop()
    for job in (world.whole, world.resumed):
        until(lambda job=job: not (world.root / "targets" / f"{job.run_id}.json").exists())  # type: ignore[misc] # bound at once
        selector = f'greenai_run_info{{job="pull",run_id="{job.run_id}"}}'
        until(lambda selector=selector: not query(url, selector))  # type: ignore[misc] # the same


def total(url: str, job: Job, labels: str) -> float | None:
    """Energy of a run as Prometheus has it: the last value of every series, summed."""
    return value(url, f'sum(last_over_time({ENERGY}{{{labels},run_id="{job.run_id}"}}[5m]))')


def test_the_rate_of_a_250_w_device_reads_250_w(world: World) -> None:
    assert statistics.median(world.power_w) == pytest.approx(WATTS, abs=1.0)


def test_totals_by_every_way_are_those_of_the_record(world: World) -> None:
    energy_j = pytest.approx(world.whole.closed_j(), rel=1e-9)
    url, job = world.prometheus, world.whole
    assert total(url, job, 'job="pull"') == energy_j
    assert total(url, job, 'job="greenai",instance!=""') == energy_j  # remote-write
    assert until(lambda: total(url, job, 'job="node"')) == energy_j
    assert until(lambda: total(url, job, 'job="greenai",host!=""')) == energy_j  # Pushgateway


def test_restarts_do_not_inflate_an_increase(world: World) -> None:
    job = world.resumed
    whole_j = job.closed_j()
    assert job.summary()["attempts"] == 2
    for url, labels in ((world.prometheus, 'job="pull"'), (world.victoria, 'job="greenai"')):
        series = f'{ENERGY}{{{labels},run_id="{job.run_id}"}}'
        assert {
            one["metric"]["attempt"] for one in query(url, f"last_over_time({series}[5m])")
        } == {
            "0",
            "1",
        }
        assert value(url, f"sum(max_over_time({series}[5m]))") == pytest.approx(whole_j, rel=1e-9)
        # What came before the first scrape, no increase knows; more than there is, none may tell.
        assert 0.4 * whole_j < (value(url, f"sum(increase({series}[5m]))") or 0) < 1.02 * whole_j


def test_a_killed_jobs_series_end_and_do_not_jump(world: World) -> None:
    series = f'{ENERGY}{{job="pull",run_id="{world.killed.run_id}"}}'
    assert query(world.prometheus, series) == []
    assert query(world.prometheus, f"last_over_time({series}[5m])")
    highest = f"max_over_time(sum(rate({series}[5s]))[5m:1s])"
    assert (value(world.prometheus, highest) or 0) == pytest.approx(WATTS, rel=0.15)


def test_series_that_were_sent_end_with_the_job(world: World) -> None:
    for url, job in ((world.prometheus, world.whole), (world.victoria, world.resumed)):
        series = f'{ENERGY}{{job="greenai",instance!="",run_id="{job.run_id}"}}'
        assert query(url, f"last_over_time({series}[5m])")
        until(lambda url=url, series=series: not query(url, series), 10)  # type: ignore[misc] # bound at once


def test_a_gateway_gets_totals_and_no_gauge_in_a_group_of_the_attempt(world: World) -> None:
    with urllib.request.urlopen(f"{world.gateway}/api/v1/metrics") as answer:
        (group,) = json.load(answer)["data"]
    assert group["labels"].items() >= {
        "job": "greenai", "run_id": world.whole.run_id, "attempt": "0", "rank": "0",
    }.items()  # fmt: skip
    assert group["labels"]["host"]
    assert {ENERGY, "greenai_run_info", "greenai_step_energy_joules"} <= set(group)
    assert "greenai_power_watts" not in group


def test_promtool_finds_nothing_wrong_with_a_scrape(world: World) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=world.scrape, text=True, capture_output=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_finished_run_loads_into_an_empty_prometheus(world: World, tmp_path: Path) -> None:
    job, data = world.whole, tmp_path / "prometheus" / "data"
    exported = [shutil.which("greenai", path=str(sys.prefix) + "/bin") or "greenai", "export"]
    subprocess.run(
        [*exported, str(job.folder), "--format", "openmetrics", "--out", str(tmp_path)],
        check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics",
         str(tmp_path / "openmetrics.txt"), str(data)],
        check=True, capture_output=True,
    )  # fmt: skip
    summary = job.summary()
    text = (tmp_path / "openmetrics.txt").read_bytes()
    urllib.request.urlopen(f"{world.victoria}/api/v1/import/prometheus", text).close()
    urllib.request.urlopen(f"{world.victoria}/internal/force_flush").close()
    imported_j = until(lambda: total(world.victoria, job, 'job="greenai"'))
    assert imported_j == pytest.approx(summary["energy_j"], rel=1e-9)
    with servers.prometheus(tmp_path / "prometheus") as url:
        loaded_j = until(lambda: total(url, job, 'job="greenai"'))
        assert loaded_j == pytest.approx(summary["energy_j"], rel=1e-9)
        phases = query(url, f"sum by (phase) (last_over_time({ENERGY}[5m]))")
        by_phase = {one["metric"]["phase"]: float(one["value"][1]) for one in phases}
        in_steps_j = by_phase["train_step"] + by_phase.get("data_wait", 0)
        assert in_steps_j == pytest.approx(summary["steps_j"], rel=1e-9)
        for family, key in (
            ("greenai_optimizer_steps_total", "steps"),
            ("greenai_tokens_total", "tokens"),
            ("greenai_emissions_co2e_grams_total", "operational_co2e_g"),
        ):
            known = value(url, f"sum(last_over_time({family}[5m]))")
            assert known == pytest.approx(summary[key], rel=1e-9)
        rate = f"max_over_time(sum(rate({ENERGY}[10s]))[5m:1s])"
        assert value(url, rate) == pytest.approx(WATTS, rel=0.02)
