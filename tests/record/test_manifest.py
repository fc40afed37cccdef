"""Laws of manifests: checked when they are read, whole when they are written."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenai.errors import OrderError, RecordError
from greenai.record.documents import parse_object, plain_json, read_json
from greenai.record.manifest import (
    channels_of,
    read_attempt_manifest,
    read_run_manifest,
    write_manifest,
    write_run_manifest,
)
from greenai.record.types import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from greenai.sensors.base import Channel

RUN = {"run_id": "r1", "variant": "dense", "config": {"layers": 4}}


def put(folder: Path, text: str | bytes) -> Path:
    path = folder / "manifest.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_run_manifest(tmp_path, {**RUN, "lr": float("nan"), "ranks": (0, 1)})
    expected = {**RUN, "lr": None, "ranks": [0, 1], "schema_version": SCHEMA_VERSION}
    assert read_run_manifest(tmp_path) == expected
    assert [one.name for one in tmp_path.iterdir()] == ["manifest.json"]


def test_an_attempts_channels_survive(
    tmp_path: Path,
    attempt_manifest: Callable[..., dict[str, Any]],
    make_channel: Callable[..., Channel],
) -> None:
    channels = (make_channel(0), make_channel(1, wrap_j=262_143.3, power_max_w=None))
    write_manifest(tmp_path, attempt_manifest(channels=[one.to_json() for one in channels[:1]]))
    manifest = read_attempt_manifest(tmp_path)
    assert channels_of(manifest, tmp_path) == channels[:1]


@pytest.mark.parametrize(("version", "hint"), [(2, "upgrade"), (0, "earlier"), (-5, "earlier")])
def test_another_schema_version_is_named_with_what_to_do(
    tmp_path: Path, version: int, hint: str
) -> None:
    put(tmp_path, json.dumps({**RUN, "schema_version": version}))
    with pytest.raises(RecordError, match=f"schema version {version};") as caught:
        read_run_manifest(tmp_path)
    assert hint in caught.value.hint
    assert f"reads version {SCHEMA_VERSION}" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '"text"',
        "{",
        "{}",
        b"\xff\xfe{}",
        '{"schema_version": true, "run_id": "r"}',
        '{"schema_version": "1", "run_id": "r"}',
        '{"schema_version": 1.0, "run_id": "r"}',
        '{"schema_version": 1}',
        '{"schema_version": 1, "run_id": ""}',
        '{"schema_version": 1, "run_id": 7}',
        '{"schema_version": 1, "run_id": "r", "variant": 7}',
        '{"schema_version": 1, "run_id": "r", "config": []}',
        '{"schema_version": 1, "run_id": "r", "lr": NaN}',
        '{"schema_version": 1, "run_id": "r", "lr": 1e999}',
        '{"schema_version": 1, "run_id": "\\ud800"}',
        '{"schema_version": 1, "run_id": "r", "deep": ' + "[" * 40 + "]" * 40 + "}",
        '{"schema_version": 1, "run_id": "r", "deep": ' + "[" * 400_000 + "]" * 400_000 + "}",
        '{"schema_version": 1, "run_id": "r", "big": ' + "9" * 10_000 + "}",
        '{"schema_version": 1, "run_id": "r", "long": "' + "x" * 2**20 + '"}',
    ],
    ids=range(22),
)
def test_what_is_no_manifest_is_an_error_that_names_the_file(
    tmp_path: Path, text: str | bytes
) -> None:
    path = put(tmp_path, text)
    with pytest.raises(RecordError) as caught:
        read_run_manifest(tmp_path)
    assert caught.value.path == path
    assert len(str(caught.value)) < 1000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=10,
)
KEYS = ["schema_version", "run_id", "launch_id", "rank", "channels", "names", "started_utc"]


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_an_object_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    with contextlib.suppress(RecordError):
        assert isinstance(parse_object(data, path), dict)


@settings(deadline=None)
@given(
    changes=st.dictionaries(st.sampled_from(KEYS), json_values, max_size=3), cut=st.integers(0, 400)
)
def test_a_changed_manifest_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, Any], cut: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    whole = {
        "schema_version": 1,
        "run_id": "r",
        "launch_id": "l",
        "rank": 0,
        "channels": [],
        "names": [],
    }
    text = json.dumps({**whole, **changes})
    put(folder, text[: len(text) - cut] if cut < 200 else text)
    try:
        manifest = read_attempt_manifest(folder)
        channels_of(manifest, folder)
    except RecordError:
        return
    assert isinstance(manifest["rank"], int)


@pytest.mark.parametrize(
    "change",
    [
        {"quantity": "energy_kwh"},
        {"kind": "fpga"},
        {"trust": "believed"},
        {"primary": 1},
        {"refresh_ns": -1},
        {"refresh_ns": 1.5},
        {"refresh_ns": 2**70},
        {"wrap_j": 0},
        {"wrap_j": "much"},
        {"power_max_w": -1.0},
        {"power_max_w": True},
        {"device": None},
        {"method": 3},
        {"slice_share": 1.5},
        {"slice_share": "half"},
        {"assumed_used": 1},
    ],
)
def test_a_channel_that_cannot_be_is_refused(
    tmp_path: Path,
    attempt_manifest: Callable[..., dict[str, Any]],
    make_channel: Callable[..., Channel],
    change: dict[str, Any],
) -> None:
    plain = {**make_channel().to_json(), **change}
    write_manifest(tmp_path, attempt_manifest(channels=[plain]))
    with pytest.raises(RecordError, match="channel 0"):
        channels_of(read_attempt_manifest(tmp_path), tmp_path)


@pytest.mark.parametrize("plain", [None, [], "gpu0", {}, {"device": "gpu0"}])
def test_what_is_no_channel_is_refused(tmp_path: Path, plain: Any) -> None:
    with pytest.raises(RecordError, match="channel 0"):
        channels_of({"channels": [plain]}, tmp_path)


def test_a_manifest_too_large_to_be_read_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(OrderError, match="config"):
        write_run_manifest(tmp_path, {**RUN, "config": {"x": "y" * 2**20}})
    assert not any(tmp_path.iterdir())


def test_a_link_is_replaced_and_never_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    outside.write_text("mine")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "manifest.json").symlink_to(outside)
    with pytest.raises(RecordError):
        read_run_manifest(folder)
    write_run_manifest(folder, RUN)
    assert outside.read_text() == "mine"
    assert read_run_manifest(folder)["run_id"] == "r1"


def test_a_folder_that_is_gone_is_an_error_without_leftovers(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot be written"):
        write_run_manifest(tmp_path / "gone", RUN)


def test_a_number_that_is_unknown_becomes_null_everywhere() -> None:
    inf = float("inf")
    assert plain_json({"a": [inf, {"b": -inf}], 3: (1,)}) == {"a": [None, {"b": None}], "3": [1]}


def test_a_larger_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "live.json"
    with path.open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(RecordError, match="more than 100 bytes"):
        read_json(path, bytes_max=100)
