"""Laws of what comes with the wheel: it can be listed, printed and installed, and loses nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from greenai.cli import main
from greenai.dashboards import DASHBOARDS, FILES, install, text_of
from greenai.dashboards.shipped import RECEIPT
from greenai.errors import OrderError

ROOT = Path(__file__).parents[2]


def exit_code(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["dashboards", *words])
    return int(ended.value.code or 0)


def files_in(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in folder.glob("**/*")
        if path.is_file() and path.name != RECEIPT
    }


def test_every_data_file_of_the_folder_has_a_name() -> None:
    inner = ROOT / "dashboards"
    on_disk = {
        str(path.relative_to(inner))
        for end in ("json", "yaml")
        for path in inner.glob(f"**/*.{end}")
    }
    assert on_disk == {file.path for file in FILES.values()}


def test_without_a_word_everything_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code() == 0
    bare = capsys.readouterr().out
    assert exit_code("list") == 0
    assert capsys.readouterr().out == bare
    assert [line.split()[0] for line in bare.splitlines()] == list(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_printed_as_it_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("print", name) == 0
    shown = capsys.readouterr().out
    assert shown == (ROOT / "dashboards" / FILES[name].path).read_text(encoding="utf-8")


def test_an_unknown_name_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("print", "fleets") == 1
    error = capsys.readouterr().err
    assert "'fleets'" in error
    assert "run, compare, fleet" in error


def test_dashboards_lie_in_the_folder_itself_for_grafana(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    assert exit_code("install", "--dir", str(folder)) == 0
    assert files_in(folder) == {
        f"greenai-{name}.json": text_of(name) for name in ("run", "compare", "fleet")
    }


def test_with_servers_each_file_lies_where_compose_looks_for_it(tmp_path: Path) -> None:
    assert exit_code("install", "--servers", "--dir", str(tmp_path)) == 0
    assert files_in(tmp_path) == {file.path: text_of(name) for name, file in FILES.items()}


def test_a_second_install_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, DASHBOARDS)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert exit_code("install", "--dir", str(tmp_path)) == 0
    assert "already" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_what_someone_changed_is_left_alone_and_nothing_else_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, DASHBOARDS)
    (tmp_path / "greenai-fleet.json").write_text("mine")
    (tmp_path / "greenai-run.json").unlink()
    assert exit_code("install", "--dir", str(tmp_path)) == 1
    error = capsys.readouterr().err
    assert "greenai-fleet.json was changed" in error
    assert "--force" in error
    assert set(files_in(tmp_path)) == {"greenai-compare.json", "greenai-fleet.json"}
    assert exit_code("install", "--force", "--dir", str(tmp_path)) == 0
    assert files_in(tmp_path)["greenai-fleet.json"] == text_of("fleet")


def test_a_file_of_that_name_that_was_never_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "greenai-run.json").write_text("{}")
    with pytest.raises(OrderError, match=r"greenai-run\.json was changed"):
        install(tmp_path, DASHBOARDS)
    assert files_in(tmp_path) == {"greenai-run.json": "{}"}


def test_an_older_version_that_nobody_touched_is_replaced(tmp_path: Path) -> None:
    install(tmp_path, DASHBOARDS)
    old = "what an older greenai shipped"
    (tmp_path / "greenai-run.json").write_text(old)
    receipt = (tmp_path / RECEIPT).read_text()
    ours = hashlib.sha256(text_of("run").encode()).hexdigest()
    (tmp_path / RECEIPT).write_text(receipt.replace(ours, hashlib.sha256(old.encode()).hexdigest()))
    assert [path.name for path in install(tmp_path, DASHBOARDS)] == ["greenai-run.json"]
    assert ours in (tmp_path / RECEIPT).read_text()


def test_the_receipt_is_no_json_for_grafana_to_read(tmp_path: Path) -> None:
    install(tmp_path, DASHBOARDS)
    assert not (tmp_path / RECEIPT).match("*.json")
    for line in (tmp_path / RECEIPT).read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest


def test_a_folder_that_cannot_be_written_is_said_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert exit_code("install", "--dir", str(tmp_path / "file")) == 1
    assert "give a --dir that can be written" in capsys.readouterr().err
