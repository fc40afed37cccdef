"""Laws of the settings of the ways out: who says what, and what is refused before a start."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

import greenai
from greenai.errors import OrderError
from greenai.exporters.access import TOKEN_VARIABLE
from greenai.outlets import Outlets, are_wanted, authorization_variable, outlets
from greenai.settings import resolve

TOKEN = "a-token-of-this-test"  # noqa: S105 - opens nothing


def test_an_argument_goes_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text(
        '[metrics]\ninterval_s = 30\nstrict_port = true\npushgateway = "http://file:9091"\n'
    )
    site = {"GREENAI_CONFIG": str(file), "GREENAI_METRICS_INTERVAL_S": "20"}
    found = resolve({**site, "GREENAI_METRICS_HOSTS": "a, b"}, metrics={"interval_s": 10}).metrics
    assert (found.interval_s, found.strict_port, found.hosts) == (10, True, ("a", "b"))
    assert found.pushgateway == "http://file:9091"
    assert resolve(site).metrics.interval_s == 20


def test_a_path_is_that_of_the_training_wherever_the_sampler_runs() -> None:
    assert outlets({"file_sd": "targets.json"}, {}).file_sd == str(Path.cwd() / "targets.json")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"unknown": 1}, "unknown"),
        ([], "dict"),
        ({"interval_s": 0}, "1 to 3600"),
        ({"interval_s": "often"}, "often"),
        ({"interval_s": True}, "True"),
        ({"strict_port": "perhaps"}, "perhaps"),
        ({"file_sd": "targets.yml"}, ".json"),
        ({"textfile": "run.txt"}, ".prom"),
        ({"certfile": 7}, "path"),
        ({"hosts": [7]}, "list of names"),
        ({"pushgateway": "gateway:9091"}, "URL"),
        ({"pushgateway": "file:///etc/passwd"}, "URL"),
        ({"remote_write": "http://"}, "URL"),
        ({"remote_write": "http://host:99999/"}, "URL"),
        ({"remote_write": "http://host/a b"}, "URL"),
        ({"otlp": "http://host/\n"}, "URL"),
    ],
)
def test_what_is_of_no_use_is_refused(given: Any, said: str) -> None:
    with pytest.raises(OrderError) as refused:
        outlets(given, {})
    assert said in str(refused.value)


def test_a_secret_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(OrderError) as refused:
        outlets({"remote_write": "https://user:hunter2@example.org/api/v1/write"}, {})
    assert "hunter2" not in str(refused.value)
    assert authorization_variable("remote_write") in str(refused.value)


@pytest.mark.parametrize(
    ("environment", "metrics", "is_refused"),
    [
        ({}, None, True),
        ({TOKEN_VARIABLE: TOKEN}, None, False),
        ({"GREENAI_METRICS_INSECURE": "1"}, None, False),
        ({}, {"insecure": True}, False),
        ({TOKEN_VARIABLE: "short"}, None, True),
        ({TOKEN_VARIABLE: TOKEN}, {"certfile": "missing.pem"}, True),
    ],
)
def test_an_open_endpoint_without_a_token_is_refused_before_the_start(
    environment: dict[str, str], metrics: dict[str, Any] | None, is_refused: bool
) -> None:
    arguments = {"metrics_port": 0, "metrics_address": "0.0.0.0", "metrics": metrics}  # noqa: S104 - the point of the test
    if is_refused:
        with pytest.raises(OrderError):
            resolve(environment, **arguments)
    else:
        assert resolve(environment, **arguments).metrics_address == "0.0.0.0"  # noqa: S104 - the same


def test_the_url_of_the_endpoint_is_the_one_that_a_client_writes() -> None:
    settings = resolve({}, metrics_address="::1", metrics={"certfile": "c.pem"})
    assert settings.metrics_url(9400) == "https://[::1]:9400/metrics"


@pytest.mark.parametrize(
    ("port", "local_rank", "given", "wanted"),
    [
        (None, 0, {}, False),
        (0, 0, {}, True),
        (9400, 1, {}, False),
        (None, 0, {"textfile": "/a.prom"}, True),
        (None, 1, {"textfile": "/a.prom"}, False),
        (None, 0, {"certfile": "/c.pem"}, False),
    ],
)
def test_one_sampler_a_host_carries_figures_out(
    port: int | None, local_rank: int, given: dict[str, Any], wanted: bool
) -> None:
    told = {**Outlets().to_json(), **given}
    config = {"metrics_port": port, "metrics": told, "manifest": {"local_rank": local_rank}}
    assert are_wanted(config) is wanted


def test_a_taken_port_stops_a_run_before_it_starts_where_no_other_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        strict = {"strict_port": True}
        tracker = greenai.track(tmp_path / "run", sensors=[], metrics_port=port, metrics=strict)
        with pytest.raises(OrderError, match=f"{port}.*[Aa]ddress already in use"):
            tracker.start()
        assert not (tmp_path / "run").exists()
        monkeypatch.setenv("LOCAL_RANK", "1")  # serves nothing
        other_rank = greenai.track(tmp_path / "rank", sensors=[], metrics_port=port, metrics=strict)
        other_rank.start()
        other_rank.stop()


def test_what_does_not_get_out_is_said_to_the_one_who_trains(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = {"textfile": "/proc/no/run.prom", "remote_write": "http://127.0.0.1:9/"}
    with greenai.track(tmp_path / "run", sensors=[], metrics=metrics) as run:
        give_up_s = time.monotonic() + 20
        while "do not get out" not in caplog.text and time.monotonic() < give_up_s:
            run.step()
            time.sleep(0.02)
    assert caplog.text.count("do not get out as metrics= asks") == 1
    assert "The record is whole" in caplog.text


def test_neither_token_nor_address_nor_path_comes_into_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    monkeypatch.setenv("GREENAI_PUSHGATEWAY_AUTHORIZATION", "Bearer hunter2-hunter2")
    metrics = {
        "textfile": tmp_path / "of-the-user" / "run.prom",
        "pushgateway": "http://127.0.0.1:9/of-the-site",
    }
    tracker = greenai.track(tmp_path / "run", sensors=[], metrics_port=0, metrics=metrics)
    tracker.start()
    tracker.step(tokens=1)
    tracker.stop(wait=True)
    (log,) = (tmp_path / "run").rglob("sampler.log")
    assert "Pushgateway is not reached" in log.read_text()
    kept = b"".join(file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file())
    for secret in (TOKEN, "hunter2", "of-the-user", "of-the-site"):
        assert secret.encode() not in kept
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["settings"]
