"""Laws of claiming a run folder: nothing is overwritten, nobody waits, ranks find each other."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from greenai.errors import OrderError, RecordError
from greenai.record.claim import RESUME_ASKED, Claim, claim_run, run_id_of
from greenai.record.manifest import write_run_manifest

if TYPE_CHECKING:
    from collections.abc import Callable

    Launch = Callable[..., Any]


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(one): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def test_a_free_folder_is_taken_whether_it_exists_or_not(
    tmp_path: Path, make_launch: Launch
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "checkpoint.pt").write_text("of someone else")
    for name in ("there", "a/b/new"):
        claim = claim_run(tmp_path / name, "r1", make_launch("first"))
        assert claim == Claim(
            tmp_path / name, "r1", tmp_path / name / "rank-0" / "attempt-first", True, None
        )
        assert list(claim.attempt_folder.iterdir()) == []
    assert (tmp_path / "there" / "checkpoint.pt").read_text() == "of someone else"


def test_an_existing_run_is_left_as_it_is(tmp_path: Path, make_launch: Launch) -> None:
    folder = tmp_path / "dense"
    write_run_manifest(claim_run(folder, "r1", make_launch("first")).folder, {"run_id": "r1"})
    before = files_below(folder)
    for number in (2, 3, 4):
        claim = claim_run(folder, f"r{number}", make_launch(f"launch{number}"))
        assert claim.folder == tmp_path / f"dense-{number}"
        assert (claim.run_id, claim.created) == (f"r{number}", True)
        assert "dense already holds a run" in str(claim.notice)
        assert "resume=True" in str(claim.notice)
    assert files_below(folder) == before


def test_a_record_copied_without_its_launches_is_left_as_it_is(
    tmp_path: Path, make_launch: Launch
) -> None:
    folder = tmp_path / "copied"
    folder.mkdir()
    write_run_manifest(folder, {"run_id": "old"})
    (tmp_path / "ranks" / "rank-3").mkdir(parents=True)
    assert claim_run(folder, "r1", make_launch("a")).folder.name == "copied-2"
    assert claim_run(tmp_path / "ranks", "r1", make_launch("a")).folder.name == "ranks-2"
    joined = claim_run(folder, "r1", make_launch("b"), evidence=RESUME_ASKED)
    assert (joined.folder, joined.run_id, joined.created) == (folder, "old", False)


def test_ranks_of_one_launch_meet_in_whatever_order_they_come(
    tmp_path: Path, make_launch: Launch
) -> None:
    claims = {
        rank: claim_run(
            tmp_path / "run", f"own{rank}", make_launch("job-0", rank=rank, shared=True)
        )
        for rank in (3, 0, 2, 1)
    }
    assert {claim.folder for claim in claims.values()} == {tmp_path / "run"}
    assert {claim.run_id for claim in claims.values()} == {"own3"}
    assert [rank for rank, claim in claims.items() if claim.created] == [0]
    assert {claim.notice for claim in claims.values()} == {None}


def test_ranks_meet_in_the_sibling_too(tmp_path: Path, make_launch: Launch) -> None:
    claim_run(tmp_path / "run", "r1", make_launch("other"))
    claims = [
        claim_run(tmp_path / "run", f"own{rank}", make_launch("job-0", rank=rank, shared=True))
        for rank in range(4)
    ]
    assert {claim.folder.name for claim in claims} == {"run-2"}


def test_a_second_run_of_the_same_launch_goes_to_a_sibling(
    tmp_path: Path, make_launch: Launch
) -> None:
    ranks = [make_launch("job-0", rank=rank, shared=True) for rank in range(2)]
    for name in ("run", "run-2", "run-3"):
        claims = [claim_run(tmp_path / "run", "r", rank) for rank in ranks]
        assert {claim.folder.name for claim in claims} == {name}


def test_a_restart_joins_the_run_that_its_job_began(tmp_path: Path, make_launch: Launch) -> None:
    claim_run(tmp_path / "run", "other", make_launch("else-0", shared=True))
    first = claim_run(tmp_path / "run", "r1", make_launch("job-0", shared=True))
    assert first.folder.name == "run-2"
    claim_run(tmp_path / "run", "later", make_launch("later-0", shared=True))
    for rank in (1, 0):
        restarted = make_launch("job-1", rank=rank, restarts=1, shared=True)
        again = claim_run(tmp_path / "run", "r9", restarted, evidence="restart 1 of the launcher")
        assert (again.folder, again.run_id) == (first.folder, "r1")
        assert "restart 1 of the launcher" in str(again.notice)


def test_a_restart_of_a_job_that_left_nothing_joins_no_other_run(
    tmp_path: Path, make_launch: Launch
) -> None:
    claim_run(tmp_path / "run", "other", make_launch("else-0", shared=True))
    restarted = make_launch("job-1", restarts=1, shared=True)
    assert claim_run(tmp_path / "run", "r1", restarted, evidence="restart 1").folder.name == "run-2"


def test_an_id_that_is_used_again_fills_no_place_that_an_earlier_launch_left_free(
    tmp_path: Path, make_launch: Launch
) -> None:
    """Given a job of 2 ranks, when its id is used for one of 4, none of the 4 joins the old run."""
    for rank in range(2):
        old = make_launch("job-0", rank=rank, shared=True, world_size=2)
        claim_run(tmp_path / "run", "old", old)
    claims = [
        claim_run(tmp_path / "run", f"own{rank}", make_launch("job-0", rank=rank, shared=True))
        for rank in (3, 1, 0, 2)
    ]
    assert {claim.folder.name for claim in claims} == {"run-2"}
    assert len({claim.run_id for claim in claims}) == 1


def test_a_restart_joins_each_of_the_runs_that_its_job_began_in_their_order(
    tmp_path: Path, make_launch: Launch
) -> None:
    first = [claim_run(tmp_path / "run", name, make_launch("job-0", shared=True)) for name in "ab"]
    again = [
        claim_run(
            tmp_path / "run",
            name,
            make_launch("job-1", restarts=1, shared=True),
            evidence="a restart",
        )
        for name in "cd"
    ]
    assert [claim.run_id for claim in first] == [claim.run_id for claim in again] == ["a", "b-2"]


def test_a_checkpoint_joins_the_run_whose_id_it_carries(
    tmp_path: Path, make_launch: Launch
) -> None:
    for number in (1, 2, 3):
        claim_run(tmp_path / "run", f"r{number}", make_launch(f"launch{number}"))
    evidence = "a restored checkpoint"
    again = claim_run(tmp_path / "run", "r2", make_launch("next"), evidence=evidence)
    assert (again.folder.name, again.run_id) == ("run-2", "r2")
    other = claim_run(tmp_path / "run", "unknown", make_launch("more"), evidence=evidence)
    assert other.folder.name == "run-4"


def test_who_asks_to_resume_joins_the_folder_he_names(tmp_path: Path, make_launch: Launch) -> None:
    for name in ("r1", "r2"):
        claim_run(tmp_path / "run", name, make_launch(f"of-{name}"))
    again = claim_run(tmp_path / "run", "new", make_launch("next"), evidence=RESUME_ASKED)
    assert (again.folder.name, again.run_id) == ("run", "r1")
    fresh = claim_run(tmp_path / "free", "new", make_launch("next"), evidence=RESUME_ASKED)
    assert (fresh.run_id, fresh.notice) == ("new", None)
    launch = make_launch("job-0", shared=True)
    attempts = [
        claim_run(tmp_path / "run", "new", launch, evidence=RESUME_ASKED).attempt_folder.name
        for _ in range(2)
    ]
    assert attempts == ["attempt-job-0", "attempt-job-0-again-2"]


def test_a_rank_without_a_launcher_never_takes_rank_0s_place(
    tmp_path: Path, make_launch: Launch
) -> None:
    lost = claim_run(tmp_path / "run", "r3", make_launch("own", rank=3))
    assert lost.folder.name == "run-rank-3"
    assert lost.created
    assert "Rank 3" in str(lost.notice)
    assert claim_run(tmp_path / "run", "r0", make_launch("mine")).folder.name == "run"


RACE = """
import sys, time
from pathlib import Path
from greenai.live.launch import Launch
from greenai.record.claim import claim_run
folder, number, shared, start = sys.argv[1:]
launch = Launch("job-0" if shared == "1" else f"own{number}", int(number), shared=shared == "1")
launch = launch if shared == "1" else Launch(f"own{number}")
time.sleep(max(0.0, float(start) - time.time()))
for turn in range(20):
    claim = claim_run(Path(folder) / f"run{turn}", f"id{number}", launch)
    print(turn, claim.folder.name, claim.run_id, claim.attempt_folder.name, claim.created)
"""


@pytest.mark.parametrize("shared", [False, True])
def test_of_racing_processes_none_shares_unless_of_one_launch(
    tmp_path: Path, *, shared: bool
) -> None:
    import time  # noqa: PLC0415 - only the race is timed

    start = str(time.time() + 0.6)
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path), str(n), str(int(shared)), start],
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(4)
    ]
    rows = [line.split() for racer in racers for line in racer.communicate()[0].splitlines()]
    assert len(rows) == 4 * 20
    folders = Counter(folder for _, folder, *_ in rows)
    for turn in range(20):
        names = {folder for at, folder, *_ in rows if at == str(turn)}
        ids = {run_id for at, _, run_id, *_ in rows if at == str(turn)}
        if shared:
            assert names == {f"run{turn}"}
            assert len(ids) == 1
        else:
            assert names == {f"run{turn}"} | {f"run{turn}-{n}" for n in (2, 3, 4)}
            assert ids == {"id0", "id1", "id2", "id3"}
    assert set(folders.values()) == {4 if shared else 1}
    leftovers = [one.name for one in tmp_path.rglob(".launches-*")]
    assert leftovers == []


@pytest.mark.parametrize("inside", ["", "deep/er"])
def test_a_folder_that_cannot_be_is_an_error_at_once(
    tmp_path: Path, make_launch: Launch, inside: str
) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file" / inside, Path("/proc/greenai") / inside):
        with pytest.raises(RecordError, match="cannot be used") as caught:
            claim_run(folder, "r1", make_launch("first"))
        assert "folder=" in caught.value.hint
        assert str(folder) in str(caught.value)
        assert caught.value.path == folder


def test_a_read_only_folder_is_an_error_at_once(
    tmp_path: Path, make_launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The super-user may write anywhere, so the refusal is made."""
    monkeypatch.setattr(
        Path,
        "mkdir",
        lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "Permission denied")),
    )
    with pytest.raises(RecordError, match="Permission denied"):
        claim_run(tmp_path / "run", "r1", make_launch("first"))


def test_a_link_in_the_place_of_a_rank_is_refused(tmp_path: Path, make_launch: Launch) -> None:
    (tmp_path / "outside").mkdir()
    folder = tmp_path / "run"
    claim_run(folder, "r1", make_launch("job-0", shared=True))
    (folder / "rank-1").symlink_to(tmp_path / "outside")
    with pytest.raises(RecordError, match="link"):
        claim_run(folder, "r1", make_launch("job-0", rank=1, shared=True))
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("word", ["", "..", "a/b", "a b", "x" * 200, "\n", ".hidden"])
def test_an_id_is_a_plain_word(tmp_path: Path, make_launch: Launch, word: str) -> None:
    with pytest.raises(OrderError):
        claim_run(tmp_path / "run", word, make_launch("first"))
    with pytest.raises(OrderError):
        claim_run(tmp_path / "run", "r1", make_launch(word))


def test_a_damaged_identity_is_an_error(tmp_path: Path, make_launch: Launch) -> None:
    folder = claim_run(tmp_path / "run", "r1", make_launch("first")).folder
    assert run_id_of(folder) == "r1"
    (folder / "launches" / "run_id.txt").write_bytes(b"\xff/../")
    with pytest.raises(RecordError, match="no run's id"):
        run_id_of(folder)


def test_the_current_folder_can_be_the_run(
    tmp_path: Path, make_launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    names = [claim_run(Path(), f"r{n}", make_launch(f"l{n}")).folder.name for n in (1, 2)]
    assert names == ["here", "here-2"]
