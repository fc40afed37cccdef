"""Laws of the files for Prometheus and Grafana: their own programs and forms accept them.

None of them has been run in a Grafana server or by Docker here: neither is in a package index.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from greenai.dashboards import FILES, install, text_of

yaml = pytest.importorskip("yaml", reason="reads YAML; comes with huggingface-hub")
promql = pytest.importorskip("promql_parser", reason="parses PromQL; of the extra dev")
from simulation.promql_labels import SCRAPED, labels_of  # noqa: E402 - it needs the parser

HERE = Path(__file__).parent


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(text_of("rules"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def promtool(*words: str, folder: Path) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: make servers")
    done = subprocess.run(
        [program, *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_rules_ask_for_labels_that_there_are_and_name_them_in_what_they_say() -> None:
    recorded: dict[str, set[str]] = {}
    for rule in rules():
        labels = labels_of(promql.parse(rule["expr"]), recorded)
        if "record" in rule:
            recorded[rule["record"]] = labels
            continue
        said = " ".join(rule["annotations"].values())
        assert set(re.findall(r"\$labels\.(\w+)", said)) <= labels - (SCRAPED - {"instance"})
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}


def test_what_is_recorded_is_named_by_level_metric_and_operation() -> None:
    names = [rule["record"] for rule in rules() if "record" in rule]
    assert names
    assert all(re.fullmatch(r"greenai:[a-z0-9_]+:[a-z0-9_]+", name) for name in names)


def test_every_alert_is_tested() -> None:
    tests = yaml.safe_load((HERE / "rules_test.yaml").read_text(encoding="utf-8"))["tests"]
    raised = {
        case["alertname"]
        for test in tests
        for case in test.get("alert_rule_test", ())
        if case["exp_alerts"]
    }
    assert raised == {rule["alert"] for rule in rules() if "alert" in rule}


@pytest.mark.slow
def test_prometheus_accepts_the_rules_and_they_raise_what_they_should(tmp_path: Path) -> None:
    install(tmp_path, FILES)
    shutil.copy(HERE / "rules_test.yaml", tmp_path / "prometheus" / "rules")
    folder = tmp_path / "prometheus" / "rules"
    assert f"{len(rules())} rules found" in promtool(
        "check", "rules", "greenai.yaml", folder=folder
    )
    assert "SUCCESS" in promtool("test", "rules", "rules_test.yaml", folder=folder)


@pytest.mark.slow
def test_prometheus_accepts_its_configuration_where_it_is_installed(tmp_path: Path) -> None:
    install(tmp_path, FILES)
    (tmp_path / "prometheus" / "targets").mkdir()
    (tmp_path / "prometheus" / "targets" / "run.json").write_text(
        '[{"targets": ["127.0.0.1:1"]}]', encoding="utf-8"
    )
    said = promtool("check", "config", "prometheus.yaml", folder=tmp_path / "prometheus")
    assert "WARNING" not in said
    assert f"{len(rules())} rules found" in said


def test_compose_mounts_what_is_installed_where_the_servers_look_for_it(tmp_path: Path) -> None:
    install(tmp_path, FILES)
    services = yaml.safe_load(text_of("compose"))["services"]
    mounts = {}
    for service in services.values():
        for volume in service["volumes"]:
            host, inside = volume.removesuffix(":ro").split(":")
            if host.startswith("."):
                mounts[inside] = tmp_path / host
                assert mounts[inside].is_dir()

    def found(inside: str) -> Path:
        at = max((one for one in mounts if inside.startswith(one)), key=len)
        return mounts[at] / Path(inside).relative_to(at)

    (config,) = (one for one in services["prometheus"]["command"] if "config.file" in one)
    assert found(config.partition("=")[2]).is_file()
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert found(home).is_file()
    (provider,) = yaml.safe_load(text_of("provider"))["providers"]
    assert (provider["type"], found(provider["options"]["path"]).is_dir()) == ("file", True)
    assert sorted(found(provider["options"]["path"]).glob("*.json"))
    # Grafana reads its own files from here where nothing else is said.
    for name in ("datasource", "provider"):
        inner = FILES[name].path.removeprefix("grafana/")
        assert found(f"/etc/grafana/{inner}").is_file()


def test_grafana_finds_prometheus_where_it_listens_and_knows_how_often_it_scrapes() -> None:
    (source,) = yaml.safe_load(text_of("datasource"))["datasources"]
    services = yaml.safe_load(text_of("compose"))["services"]
    assert source["type"] == "prometheus"
    listens = f"--web.listen-address={source['url'].removeprefix('http://')}"
    assert listens in services["prometheus"]["command"]
    config = yaml.safe_load(text_of("prometheus"))
    assert source["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]


def test_nothing_is_reachable_from_other_machines() -> None:
    services = yaml.safe_load(text_of("compose"))["services"]
    assert {service["network_mode"] for service in services.values()} == {"host"}
    assert "--web.listen-address=127.0.0.1:9090" in services["prometheus"]["command"]
    assert services["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert not any("ports" in service for service in services.values())
