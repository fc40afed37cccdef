"""Laws of runs elsewhere: a copy gives the same numbers, nothing is deleted, nothing is mixed."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import fsspec
import pytest

import greenai
from greenai import cli
from greenai.errors import GreenAIError, RecordError
from greenai.fleet import store
from greenai.fleet.gathering import gather
from greenai.fleet.places import at_hand, place_of
from greenai.fleet.push import push
from greenai.overview import entries_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ATTEMPT = "rank-0/attempt-20261124T032347-684178638-30724"
LAST = ("manifest.json", "summary.json")


@pytest.fixture(params=["memory", "file", "path"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "memory":
        base = f"memory://{uuid4().hex}"
        yield f"{base}/fleet"
        fsspec.filesystem("memory").rm(base, recursive=True)
    else:
        yield f"{'file://' if request.param == 'file' else ''}{tmp_path}/there/fleet"


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """A web server that does not tell each request."""

    def log_message(self, *_what: Any) -> None:
        pass


def everything(url: str) -> dict[str, bytes]:
    fs, root = fsspec.core.url_to_fs(url)
    return {path.removeprefix(f"{root}/"): fs.cat_file(path) for path in fs.find(root)}


def tables(run: greenai.Run) -> tuple[Any, ...]:
    return (run.summary(), run.steps().to_csv(), run.phases().to_csv(), run.config)


def test_a_pushed_run_is_the_same_run(make_run: Callable[..., Path], url: str) -> None:
    run = make_run("dense-0", summary=False)
    done = push(run, f"{url}/")
    assert done.copied[0] == "launches/run_id.txt"
    assert done.copied[-2:] == LAST
    assert not done.notices
    there = greenai.load(f"{url}/dense-0")
    assert tables(there) == tables(greenai.load(run))
    assert json.loads(everything(f"{url}/dense-0")["summary.json"]) == there.summary()
    assert there.variant == greenai.load(run).variant
    assert sorted(done.copied) == sorted(everything(f"{url}/dense-0"))


def test_what_is_there_is_not_copied_again_and_what_grew_is(
    make_run: Callable[..., Path], url: str
) -> None:
    run = make_run("a", summary=False)
    marks = run / ATTEMPT / "marks.frames"
    whole = marks.read_bytes()
    marks.write_bytes(whole[: len(whole) // 2])  # as while it runs: ends in a torn frame
    (run / ATTEMPT / "sampler.log").write_text("/home/me")
    (run / ATTEMPT / "live.json").write_text("{}")
    push(run, url)
    assert greenai.load(url).summary() == greenai.load(run).summary()
    assert push(run, url).copied == ()
    marks.write_bytes(whole)
    assert push(run, url).copied == (f"{ATTEMPT}/marks.frames", "summary.json")
    assert greenai.load(url).summary()["steps"] == 40
    names = {path.rpartition("/")[2] for path in everything(url)}
    assert names.isdisjoint({"sampler.log", "live.json"})


def test_a_push_that_breaks_off_anywhere_leaves_no_finished_run_and_can_be_repeated(
    make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("a", summary=False)
    put = store.Store.put
    for survives in range(7):
        url = f"memory://{uuid4().hex}"
        calls = iter(range(100))

        def breaking(self: Any, name: str, file: Any, left: int = survives, n: Any = calls) -> None:
            if next(n) == left:
                raise RecordError("the network is gone")
            put(self, name, file)

        with monkeypatch.context() as patch:
            patch.setattr(store.Store, "put", breaking)
            with pytest.raises(RecordError, match="network"):
                push(run, url)
        assert "summary.json" not in everything(url)
        before = everything(url)
        assert len(push(run, url).copied) == 7 - survives
        assert before.items() <= everything(url).items()
        assert greenai.load(url).summary() == greenai.load(run).summary()


def test_another_run_is_not_overwritten_and_a_longer_record_stays(
    make_run: Callable[..., Path], url: str
) -> None:
    run = make_run("a", summary=False)
    push(run, url)
    other = make_run("b", summary=False)
    (other / "launches" / "run_id.txt").write_text("another\n")
    before = everything(url)
    with pytest.raises(RecordError, match="'another'"):
        push(other, url)
    marks = run / ATTEMPT / "marks.frames"
    marks.write_bytes(marks.read_bytes()[:-100])
    with pytest.raises(RecordError, match="is newer"):
        push(run, url)
    assert everything(url) == before


def test_ranks_without_a_common_disk_are_pushed_to_one_run(
    make_run: Callable[..., Path], url: str
) -> None:
    whole = make_run("whole", summary=False)
    second = whole / "rank-1"
    shutil.copytree(whole / "rank-0", second)
    manifest = next(second.glob("*/manifest.json"))
    facts = {"rank": 1, "world_size": 2}
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **facts}))
    nodes = [Path(shutil.copytree(whole, whole.parent / name)) for name in ("node-0", "node-1")]
    shutil.rmtree(nodes[0] / "rank-1")
    shutil.rmtree(nodes[1] / "rank-0")
    (nodes[1] / "manifest.json").unlink()  # rank 0 writes it
    push(nodes[1], url)
    assert "Other ranks" in push(nodes[0], url).notices[0]
    assert greenai.load(url).summary() == greenai.load(whole).summary()
    rows = gather(place_of(url))
    assert [row["ranks"] for row in rows] == [2]  # no summary of one rank is believed


@pytest.mark.parametrize("what", ["rank-0", ATTEMPT, f"{ATTEMPT}/marks.frames", "manifest.json"])
def test_a_link_is_not_pushed(make_run: Callable[..., Path], tmp_path: Path, what: str) -> None:
    run = make_run("a", summary=False)
    (run / what).rename(tmp_path / "secret")
    (run / what).symlink_to(tmp_path / "secret")
    with pytest.raises(RecordError, match="link"):
        push(run, f"memory://{uuid4().hex}")


def test_a_link_at_the_other_side_is_replaced_and_not_written_through(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    run = make_run("a", summary=False)
    there = tmp_path / "there"
    push(run, str(there))
    secret = tmp_path / "secret"
    secret.write_text("hush")
    for name in ("summary.json", f"{ATTEMPT}/events.jsonl"):
        (there / name).unlink()
        (there / name).symlink_to(secret)
    with pytest.raises(RecordError):
        push(run, str(there))
    assert secret.read_text() == "hush"


def test_only_the_files_of_a_record_are_fetched_and_none_lands_outside(
    make_run: Callable[..., Path], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("a", summary=False)
    push(run, url)
    if not url.startswith("memory"):
        return
    fs = fsspec.filesystem("memory")
    root = url.removeprefix("memory:/")
    for name in ("rank-0/attempt-x/../../../up", "rank-0/attempt-x/evil.sh", "a\nb"):
        fs.store[f"{root}/{name}"] = type(next(iter(fs.store.values())))(fs, f"{root}/{name}", b"x")
    with at_hand(url) as folder:
        found = {path.name for path in folder.parent.rglob("*") if path.is_file()}
        assert found == {Path(name).name for name in everything(str(run))} - {"live.json"}
    assert not folder.exists()
    monkeypatch.setattr(store, "RUN_BYTES_MAX", 1000)
    with pytest.raises(RecordError, match="bytes; 500000 of 1000 can be taken"):
        greenai.load(url)


def test_a_copy_goes_with_its_run(make_run: Callable[..., Path]) -> None:
    url = f"memory://{uuid4().hex}"
    push(make_run("a", summary=False), url)
    run = greenai.load(url)
    folder = run.record.folder
    assert folder.exists()
    del run
    assert not folder.exists()


@pytest.mark.parametrize(
    "url", ["memory://nothing/there", "nonsense://x/y", "ftp://me:hush@host/runs", "/nowhere"]
)
def test_what_cannot_be_reached_is_said_in_three_parts(
    url: str, make_run: Callable[..., Path]
) -> None:
    with pytest.raises(GreenAIError) as refused:
        greenai.load(url)
    assert refused.value.meaning
    assert refused.value.hint
    assert "hush" not in str(refused.value)
    if "nothing" not in url and "nowhere" not in url:
        with pytest.raises(RecordError):
            push(make_run("a", summary=False), url)


def test_a_run_behind_a_web_server_is_the_run_and_a_server_that_is_not_there_is_named(
    make_run: Callable[..., Path],
) -> None:
    """Given listings without sizes, as web servers make them, all of each file is read."""
    pytest.importorskip("aiohttp", reason="fsspec reads http with it")
    run = make_run("dense-0", summary=False)
    handler = functools.partial(QuietHandler, directory=str(run.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        url = f"http://127.0.0.1:{server.server_port}/dense-0"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert tables(greenai.load(url)) == tables(greenai.load(run))
        finally:
            server.shutdown()
            thread.join()
    with pytest.raises(RecordError, match="cannot be reached"):
        greenai.load(url)


def test_runs_behind_a_url_are_listed_indexed_and_reported_as_those_of_a_folder(
    root: Path, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("dense-0", "deep/moe-0", "running"):
        push(root / name, f"{url}/{name}")
    shutil.rmtree(root / "broken")
    rows = gather(place_of(url))
    assert [(row["folder"], row["source"]) for row in rows] == [
        ("deep/moe-0", "summary.json"),
        ("dense-0", "summary.json"),
        ("running", "summary.json"),  # push works it out where there is none
    ]
    local = {row["folder"]: row for row in gather(place_of(root), compute=True)}
    own = {"indexed_utc", "source", "greenai_version"}
    for row in rows:
        assert {k: v for k, v in row.items() if k not in own} == {
            k: v for k, v in local[row["folder"]].items() if k not in own
        }
    assert [one.record_sha256 for one in entries_of(url)] == [
        one.record_sha256 for one in entries_of(root) if one.folder in local and one.folder in
        {row["folder"] for row in rows}
    ]  # fmt: skip
    for words in (
        ["index", url],
        ["runs", url, "--where", "folder = 'dense-0'"],
        ["report", f"{url}/dense-0", "--html", str(tmp_path / "page.html")],
        ["report", f"{url}/dense-0"],
        ["report", url, "--by", "project", "--csv", str(tmp_path / "all.csv")],
        ["push", str(root / "stale"), f"{url}/"],
    ):
        with pytest.raises(SystemExit) as end:
            cli.main(words)
        assert not end.value.code, capsys.readouterr().err
    out = capsys.readouterr().out
    assert "dense-0" in out
    assert (tmp_path / "page.html").stat().st_size > 10_000
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 4
    assert "index.parquet" in everything(url)


def test_a_summary_older_than_the_record_behind_a_url_is_computed(
    make_run: Callable[..., Path], url: str
) -> None:
    run = make_run("a", summary=False)
    push(run, f"{url}/a")
    fs, path = fsspec.core.url_to_fs(f"{url}/a/summary.json")
    if "memory" in fs.protocol:
        fs.store[path].modified = fs.store[path].created = fs.created(path).replace(year=2000)
    else:
        os.utime(path, (1, 1))
    assert [row["source"] for row in gather(place_of(url))] == ["record"]
