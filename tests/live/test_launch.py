"""Laws of the launch: what the launcher says is believed, what nobody says is one process."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from greenai.live.launch import git_commit, launch, lightning_launch

if TYPE_CHECKING:
    from pathlib import Path


def test_a_lone_process_is_rank_0_of_1_with_a_launch_of_its_own() -> None:
    first, second = launch({}), launch({})
    assert (first.rank, first.local_rank, first.world_size, first.shared) == (0, 0, 1, False)
    assert first.launch_id != second.launch_id


def test_ranks_of_a_slurm_step_share_the_launch() -> None:
    job = {"SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "4"}
    ranks = [
        launch({**job, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank % 2)})
        for rank in range(4)
    ]
    assert {rank.launch_id for rank in ranks} == {"slurm-77-0-0"}
    assert [rank.rank for rank in ranks] == [0, 1, 2, 3]
    assert [rank.local_rank for rank in ranks] == [0, 1, 0, 1]
    assert {rank.world_size for rank in ranks} == {4}


def test_a_shell_in_an_allocation_is_no_launch_of_slurm() -> None:
    assert not launch({"SLURM_JOB_ID": "77"}).shared


def test_a_batch_script_is_one_process_of_however_many_tasks() -> None:
    alone = launch({"SLURM_JOB_ID": "77", "SLURM_PROCID": "0", "SLURM_NTASKS": "8"})
    assert (alone.rank, alone.world_size, alone.shared) == (0, 1, True)


def test_a_task_of_an_array_and_its_node_are_named() -> None:
    array = {"SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "7", "SLURM_NODEID": "2"}
    task = launch({**array, "SLURM_JOB_ID": "77", "SLURM_PROCID": "0", "SLURM_STEP_ID": "0"})
    assert (task.array_task, task.node_rank) == ("70_7", 2)
    assert launch({}).array_task == ""
    assert launch({}).node_rank is None


def torchrun(run: str, agent: str, restart: int = 0, rank: int = 0, **more: str) -> dict[str, str]:
    return {
        "TORCHELASTIC_RUN_ID": run,
        "TORCHELASTIC_RESTART_COUNT": str(restart),
        "TORCHELASTIC_ERROR_FILE": f"{agent}/attempt_{restart}/{rank}/error.json",
        "GROUP_WORLD_SIZE": "1",
        "RANK": str(rank),
        "WORLD_SIZE": "2",
        **more,
    }


def test_workers_of_one_torchrun_share_a_launch_whatever_its_id_is() -> None:
    for run in ("none", "exp", "1843c1bf-3c95-4f55-81cc-c6972613e113"):
        ranks = [launch(torchrun(run, "agents/agent_a", rank=rank)) for rank in range(2)]
        assert ranks[0].launch_id == ranks[1].launch_id
        assert all(rank.shared for rank in ranks)
        again = launch(torchrun(run, "agents/agent_b"))
        assert again.launch_id != ranks[0].launch_id  # the same id, used once more
        restarted = launch(torchrun(run, "agents/agent_a", restart=1))
        assert re.fullmatch(restarted.earlier, ranks[0].launch_id)
        assert not re.fullmatch(restarted.earlier, again.launch_id)


def test_on_several_nodes_the_id_of_torchrun_is_what_ranks_share() -> None:
    nodes = [
        launch(torchrun("exp", f"agents/agent_{node}", GROUP_WORLD_SIZE="2", GROUP_RANK=str(node)))
        for node in range(2)
    ]
    assert nodes[0].launch_id == nodes[1].launch_id
    assert [node.node_rank for node in nodes] == [0, 1]


def test_a_requeue_of_slurm_is_a_restart_of_the_torchrun_in_it() -> None:
    job = {"SLURM_JOB_ID": "77", "SLURM_PROCID": "0", "SLURM_STEP_ID": "0"}
    first = launch({**torchrun("77", "agents/agent_a", restart=1), **job})
    again = launch({**torchrun("77", "agents/agent_b"), **job, "SLURM_RESTART_COUNT": "1"})
    assert (first.restarts, again.restarts) == (1, 1)
    assert first.launch_id != again.launch_id
    assert re.fullmatch(again.earlier, first.launch_id)
    assert first.date == again.date == "slurm-77"


def test_the_date_of_a_launch_is_one_in_all_ranks_and_restarts(tmp_path: Path) -> None:
    (tmp_path / "attempt_0").mkdir()
    first = launch(torchrun("exp", str(tmp_path)))
    os.utime(tmp_path, (0, 0))
    assert first.date == launch(torchrun("exp", str(tmp_path), restart=3, rank=1)).date
    assert re.fullmatch(r"\d{8}T\d{6}Z", first.date)


def test_ranks_of_lightning_meet_without_asking_each_other() -> None:
    ranks = [lightning_launch(launch({}, rank=n), "127.0.0.1", 4711, 1) for n in range(2)]
    assert ranks[0].launch_id == ranks[1].launch_id
    assert ranks[0].date == ranks[1].date
    assert lightning_launch(launch({}), "127.0.0.1", 4712, 1).launch_id != ranks[0].launch_id


def test_a_requeued_job_is_another_launch_and_says_so() -> None:
    job = {"SLURM_JOB_ID": "77", "SLURM_PROCID": "0"}
    again = launch({**job, "SLURM_RESTART_COUNT": "1"})
    assert again.restarts == 1
    assert again.launch_id != launch(job).launch_id


def test_the_framework_knows_its_rank_better() -> None:
    given = launch({"RANK": "1", "WORLD_SIZE": "8"}, rank=5, world_size=16, local_rank=2)
    assert (given.rank, given.world_size, given.local_rank) == (5, 16, 2)


def test_a_launch_id_is_one_path_component() -> None:
    assert "/" not in launch({"TORCHELASTIC_RUN_ID": "../../etc"}).launch_id


def test_the_commit_is_read_from_the_files(tmp_path: Path) -> None:
    git = tmp_path / ".git"
    (git / "refs/heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "refs/heads/main").write_text("a" * 40 + "\n")
    below = tmp_path / "deep" / "er"
    below.mkdir(parents=True)
    assert git_commit(below) == "a" * 40
    (git / "refs/heads/main").unlink()
    (git / "packed-refs").write_text("# pack-refs\n" + "b" * 40 + " refs/heads/main\n")
    assert git_commit(below) == "b" * 40
    (git / "HEAD").write_text("c" * 40 + "\n")
    assert git_commit(below) == "c" * 40


def test_a_broken_git_folder_is_no_commit(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert git_commit(tmp_path) is None
