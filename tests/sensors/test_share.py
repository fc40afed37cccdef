"""Laws of the job's share: its own group or tree, never the neighbours, never above 1."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from greenai.sensors import openers
from greenai.sensors.job_processes import ProcessTree, job_root
from greenai.sensors.share import ShareSensor, TreeTime, open_share, own_group, share_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux")

SLEEP = "import time; time.sleep(60)"
BURN = "while True: pass"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start Python processes that do not outlive the test, their children included."""
    started: list[subprocess.Popen[str]] = []

    def start_one(code: str, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)],
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start_one
    for process in started:
        for child in [*psutil.Process(process.pid).children(recursive=True)]:
            child.kill()
        process.kill()
        process.communicate()


def parent_of(child: str) -> str:
    """Code of a process that starts another one, says its id, and waits."""
    return f"""
    import subprocess, sys, time
    child = subprocess.Popen([sys.executable, "-c", {child!r}])
    print(child.pid, flush=True)
    time.sleep(60)
    """


def said_id(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


def cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def test_the_share_is_the_trees_time_over_all_busy_time(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    """One process burns inside the tree, one outside, and whatever else this machine does."""
    training = start(parent_of(BURN))
    worker = said_id(training)
    neighbour = start(BURN)
    sensor = ShareSensor(TreeTime(training.pid, "/proc"), "host")
    before_s, machine = cpu_s(worker), psutil.cpu_times()
    time.sleep(2.5)
    (reading,) = sensor.read()
    used_s, now = cpu_s(worker) - before_s, psutil.cpu_times()
    sensor.close()
    busy_s = sum(
        getattr(now, name) - getattr(machine, name)
        for name in ("user", "nice", "system", "irq", "softirq")
    )
    assert cpu_s(neighbour.pid) > 0.2
    assert 0 < reading.value < 1
    assert reading.value == pytest.approx(used_s / busy_s, abs=0.1)
    assert reading.t1_ns - reading.t0_ns > 2_000_000_000


def test_a_neighbour_alone_leaves_the_job_no_share(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    training, _ = start(SLEEP), start(BURN)
    time.sleep(0.5)
    sensor = ShareSensor(TreeTime(training.pid, "/proc"), "host")
    time.sleep(1)
    (reading,) = sensor.read()
    sensor.close()
    assert reading.value < 0.1


def test_children_that_ended_between_two_reads_count(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    training = start(
        """
        import subprocess, sys, time
        print("ready", flush=True)
        time.sleep(0.5)
        burn = "import time\\nwhile time.process_time() < 0.4: pass"
        subprocess.run([sys.executable, "-c", burn])
        print("done", flush=True)
        time.sleep(60)
        """
    )
    assert training.stdout is not None
    training.stdout.readline()
    tree = ProcessTree(training.pid)
    training.stdout.readline()
    assert tree.read_ticks() >= 0.35 * TICKS_PER_S
    tree.close()


def test_time_from_before_the_run_does_not_count(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    training = start(
        "import time\nwhile time.process_time() < 0.5: pass\nprint(0, flush=True)\ntime.sleep(60)"
    )
    said_id(training)
    tree = ProcessTree(training.pid)
    assert tree.read_ticks() <= 0.1 * TICKS_PER_S
    tree.close()


def test_the_sampler_is_no_part_of_the_job(start: Callable[..., subprocess.Popen[str]]) -> None:
    training = start(parent_of(BURN))
    sampler = said_id(training)
    tree = ProcessTree(training.pid, without=sampler)
    time.sleep(0.5)
    assert tree.read_ticks() <= 0.1 * TICKS_PER_S
    tree.close()


def test_a_tree_never_falls_when_a_child_ends_that_nobody_waits_for(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.process(10, parent=1, own=100)
    world.process(11, parent=10, own=500)
    tree = ProcessTree(10, proc=str(tmp_path))
    world.process(11, parent=10, own=700)
    assert tree.read_ticks() == 200
    world.end(11)
    assert tree.read_ticks() == 200
    world.process(10, parent=1, own=130)
    assert tree.read_ticks() == 230
    tree.close()


def test_a_child_that_was_waited_for_counts_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.process(10, parent=1, own=100, ended=40)
    world.process(11, parent=10, own=500)
    tree = ProcessTree(10, proc=str(tmp_path))
    world.end(11)
    world.process(10, parent=1, own=110, ended=40 + 560)
    assert tree.read_ticks() == 10 + 60
    tree.close()


def test_what_comes_into_the_tree_later_is_found_whatever_its_name(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.process(10, parent=1, own=100)
    world.process(99, parent=1, own=10_000)
    tree = ProcessTree(10, proc=str(tmp_path))
    world.process(12, parent=11, own=30, name="a) R 1 (b")
    world.process(11, parent=10, own=5)
    tree._scan_ns = 0
    assert tree.read_ticks() == 35
    tree.close()


def test_a_job_that_is_gone_has_no_share_and_a_reason(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.process(10, parent=1, own=100)
    (sensor,), _ = open_share(10, str(tmp_path), str(tmp_path / "sys"))
    world.busy(1_000)
    world.end(10)
    time.sleep(0.3)
    (reading,) = sensor.read()
    sensor.close()
    assert math.isnan(reading.value)
    assert "CPU time" in reading.reason


def test_a_share_is_never_above_1_and_unknown_where_nothing_was_busy(tmp_path: Path) -> None:
    assert share_of(3.0, 1.0) == 1.0
    assert share_of(-1.0, 1.0) == 0.0
    assert math.isnan(share_of(1.0, 0.0))
    world = World(tmp_path)
    world.process(10, parent=1, own=100)
    (sensor,), _ = open_share(10, str(tmp_path), str(tmp_path / "sys"))
    time.sleep(0.3)
    assert sensor.read() == []  # no CPU was busy
    world.process(10, parent=1, own=150)
    world.busy(40)
    (reading,) = sensor.read()
    assert reading.value == 1.0
    assert sensor.read() == []  # too short a time
    sensor.close()


CONTAINER = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/system.slice/slurmstepd.scope/job_12/step_0/user/task_3", "job_12/step_0"),
        ("/system.slice/node_slurmstepd.scope/job_12", "node_slurmstepd.scope/job_12"),
        (f"/system.slice/docker-{CONTAINER}.scope", f"docker-{CONTAINER}.scope"),
        (f"/docker/{CONTAINER}/init", f"docker/{CONTAINER}"),
        (f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{CONTAINER}.scope", CONTAINER),
        ("/user.slice/user-7.slice/user@7.service/app.slice/run-r12ab.scope", "run-r12ab.scope"),
        ("/user.slice/user-1000.slice/session-3.scope", None),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-1.scope", None),
        ("/system.slice/ssh.service", None),
        ("/../other", None),
        ("/", None),
    ],
)  # fmt: skip
def test_only_a_group_made_for_one_job_is_the_jobs(
    path: str, own: str | None, tmp_path: Path
) -> None:
    world = World(tmp_path)
    world.process(10, parent=1, group=path)
    found = own_group(10, str(tmp_path), "/groups")
    assert (found is None) == (own is None)
    if found is not None and own is not None:
        assert own in str(found)
        assert str(found).startswith("/groups/")
        assert "task" not in str(found)


def test_a_container_that_sees_itself_as_the_root_is_the_job(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.process(10, parent=1, group="/")
    groups = tmp_path / "sys/fs/cgroup"
    groups.mkdir(parents=True)
    (groups / "cpu.stat").write_text("usage_usec 5000000\nuser_usec 1\n")
    assert own_group(10, str(tmp_path), str(groups)) is None  # the machine's own root
    (groups / "cgroup.events").write_text("populated 1\n")
    assert own_group(10, str(tmp_path), str(groups)) == groups


def test_a_groups_time_is_read_and_where_it_has_none_the_trees(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.process(10, parent=1, group=f"/docker/{CONTAINER}")
    (sensor,), _ = open_share(10, str(tmp_path), str(tmp_path / "sys"))
    assert sensor.channels[0].method == "process_tree_cpu_time"
    sensor.close()
    group = tmp_path / "sys/fs/cgroup/docker" / CONTAINER
    group.mkdir(parents=True)
    (group / "cpu.stat").write_text(f"{'usage_usec 5000000':<40}\n")
    (sensor,), _ = open_share(10, str(tmp_path), str(tmp_path / "sys"))
    assert sensor.channels[0].method == "cgroup_cpu_time"
    time.sleep(0.3)
    world.busy(4 * TICKS_PER_S)
    with (group / "cpu.stat").open("r+") as file:
        file.write(f"{'usage_usec 6000000':<40}\n")
    (reading,) = sensor.read()
    sensor.close()
    assert reading.value == pytest.approx(0.25, abs=0.02)


def test_ranks_of_a_launcher_are_one_job(start: Callable[..., subprocess.Popen[str]]) -> None:
    launcher = start(
        """
        import os, subprocess, sys, time
        ranks = [
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"],
                             env={**os.environ, "LOCAL_WORLD_SIZE": "2"})
            for _ in range(2)
        ]
        print(ranks[0].pid, flush=True)
        time.sleep(60)
        """
    )
    assert job_root(said_id(launcher)) == launcher.pid
    assert job_root(launcher.pid) == launcher.pid


def test_the_share_comes_with_what_meters_cpus_where_the_job_is_known() -> None:
    assert list(openers(["rapl"], pid=os.getpid())) == ["rapl", "share"]
    assert list(openers(pid=os.getpid()))[-1] == "share"
    assert list(openers(["nvml"], pid=os.getpid())) == ["nvml"]
    assert list(openers([], pid=os.getpid())) == []
    assert "share" not in openers()
    assert list(openers(["share"])) == ["share"]


def test_a_read_costs_little() -> None:
    (sensor,), _ = open_share(os.getpid())
    used_s = time.process_time()
    for _ in range(6):
        time.sleep(0.26)
        sensor.read()
    used_s = time.process_time() - used_s
    sensor.close()
    assert used_s / 6 < 0.02


class World:
    """A folder that stands in for /proc, whose processes a test makes and ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.busy(0)

    def process(
        self,
        pid: int,
        parent: int,
        own: int = 0,
        ended: int = 0,
        name: str = "python",
        group: str = "/user.slice",
    ) -> None:
        folder = self._folder / str(pid)
        folder.mkdir(exist_ok=True)
        numbers = f"{parent} 1 1 0 -1 0 0 0 0 0 {own:9d} 0 {ended:9d} 0 20 0 1 0 7"
        self._write(folder / "stat", f"{pid} ({name}) S {numbers}\n")
        (folder / "cgroup").write_text(f"1:cpu:/other\n0::{group}\n")
        (folder / "environ").write_bytes(b"PATH=/bin\0")

    def end(self, pid: int) -> None:
        folder = self._folder / str(pid)
        os.truncate(folder / "stat", 0)  # as an open file of a process that is gone reads
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()

    def busy(self, ticks: int) -> None:
        self._write(self._folder / "stat", f"cpu  {ticks:9d} 0 0 1000 0 0 0 0 0 0\ncpu0 0\n")

    def _write(self, path: Path, text: str) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwrite(descriptor, text.encode(), 0)
        os.close(descriptor)
