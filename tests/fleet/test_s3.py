"""Laws of runs in a bucket, against a server that speaks S3 on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import greenai
from greenai.errors import RecordError
from greenai.fleet.gathering import gather
from greenai.fleet.index import index_bytes, opened
from greenai.fleet.places import place_of
from greenai.fleet.push import push

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow
WHY = "pip install s3fs 'moto[server]': large, so they are in no extra"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    fsspec = pytest.importorskip("fsspec")
    pytest.importorskip("s3fs", reason=WHY)
    server = pytest.importorskip("moto.server", reason=WHY).ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    s3 = fsspec.filesystem("s3", skip_instance_cache=True)
    s3.mkdir("bucket")
    yield "s3://bucket/fleet"
    server.stop()
    s3.clear_instance_cache()


@pytest.mark.filterwarnings("default")  # of the server's own
def test_a_bucket_holds_a_fleet(
    make_run: Callable[..., Path], bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("dense-0", summary=False)
    assert push(run, f"{bucket}/").copied[-1] == "summary.json"
    assert push(run, f"{bucket}/").copied == ()
    assert greenai.load(f"{bucket}/dense-0").summary() == greenai.load(run).summary()
    rows = gather(place_of(bucket))
    assert [(row["folder"], row["source"]) for row in rows] == [("dense-0", "summary.json")]
    with opened(index_bytes(rows)) as fleet:
        assert fleet.choose("steps = 40", columns=["folder"]).rows == [("dense-0",)]
    with pytest.raises(RecordError, match="bucket does not exist"):
        push(run, "s3://elsewhere/x")
    import s3fs  # noqa: PLC0415 - skipped above where it is missing

    s3fs.S3FileSystem.clear_instance_cache()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(RecordError, match="credentials"):
        greenai.load(f"{bucket}/dense-0")
