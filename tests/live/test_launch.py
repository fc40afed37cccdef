"""Laws of the launch: what the launcher says is believed, what nobody says is one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenai.live.launch import git_commit, launch

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
