"""What Prometheus is told to collect, and what alerts and dashboard ask of it, exists and is sound."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.emulators.machine import find_program, missing
from tests.unit.deployment.monitoring import (
    ALERTS,
    ROOT,
    SETTINGS,
    dashboard,
    jobs,
    labels_in,
    names_in,
    queries,
)

PROCESS_METRICS = {
    "up", "process_start_time_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes",
    "process_open_fds",
}  # fmt: skip


@cache
def declared() -> dict[str, set[str]]:
    """Every metric that the services' code declares, as Prometheus names it, with its labels."""
    found: dict[str, set[str]] = {}
    pattern = re.compile(r"(Counter|Gauge|Histogram)\(\s*\"(\w+)\",\s*\"[^\"]*\"(?:,\s*\[([^\]]*)\])?", re.S)
    for file in ROOT.glob("services/*/tidemill_*/**/*.py"):
        for kind, name, labels in pattern.findall(file.read_text()):
            own = set(re.findall(r"\"(\w+)\"", labels))
            endings = ("_bucket", "_sum", "_count") if kind == "Histogram" else ("",)
            found |= {name + ending: own | {"le"} for ending in endings}
    return found


def test_a_declared_metric_is_what_a_service_shows() -> None:
    """The pattern above against one service's own exposition."""
    from tidemill_chassis import metrics
    from tidemill_persistor import measures

    assert measures.MESSAGES
    families: list[Metric] = list(text_string_to_metric_families(metrics.exposition().decode()))
    shown = {family.name.removesuffix("_created") for family in families}
    shown = {name for name in shown if name.startswith("tidemill_persistor")}
    assert shown <= {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in declared()}


@pytest.mark.parametrize("expression", queries())
def test_every_query_asks_for_what_a_service_shows(expression: str) -> None:
    names = names_in(expression)

    assert names
    assert names <= declared().keys() | PROCESS_METRICS
    known = {label for name in names for label in declared().get(name, set())} | {"job", "instance"}
    assert labels_in(expression) <= known
    assert expression.count("(") == expression.count(")")


def test_every_alert_is_explained_where_the_operator_reads() -> None:
    text = (ROOT / "docs" / "operating.md").read_text()
    rules = yaml.safe_load(ALERTS.read_text())

    for group in rules["groups"]:
        for rule in group["rules"]:
            assert f"`{rule['alert']}`" in text, f"docs/operating.md says nothing of {rule['alert']}"


def test_every_service_is_scraped_at_the_port_that_it_opens() -> None:
    assert jobs()
    for name, port in jobs().items():
        exposed = re.search(r"^EXPOSE (.*)$", (ROOT / f"services/{name}/Dockerfile").read_text(), re.M)
        assert exposed
        assert str(port) in exposed[1].split()


def test_no_two_panels_of_the_dashboard_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


@pytest.fixture(scope="module")
def promtool() -> str:
    found = find_program("promtool", variable="TIDEMILL_PROMTOOL", places=())
    return found or missing("promtool", "it comes with Prometheus; TIDEMILL_PROMTOOL names it")


def run(*command: str) -> str:
    """What a command said; it must end well."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_itself_reads_its_settings_and_every_alert(promtool: str) -> None:
    run(promtool, "check", "config", "--syntax-only", str(SETTINGS))
    said = run(promtool, "check", "rules", str(ALERTS))

    alerts = sum(len(group["rules"]) for group in yaml.safe_load(ALERTS.read_text())["groups"])
    assert f"{alerts} rules found" in said


def test_prometheus_itself_understands_every_query_of_the_dashboard(promtool: str, tmp_path: Path) -> None:
    filled = [
        query.values[0].replace("$__rate_interval", "1m").replace("$job", ".*")  # Grafana fills these in
        for query in queries()
    ]
    rules = [{"record": f"query:{at}", "expr": query} for at, query in enumerate(filled)]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))

    assert f"{len(rules)} rules found" in run(promtool, "check", "rules", str(file))


LIVES = [
    ("ServiceDown", "2m", {'up{job="ingest", instance="a"}': "0x10"}),
    ("ServiceMissing", "5m", {'up{job="ingest", instance="a"}': "1x10"}),
    ("NothingIsKept", "20m", {"tidemill_ingest_samples_total": "0+60x30"}),
    ("DeadLetters", "5m", {"tidemill_persistor_dead_letters_total": "0 0 1x10"}),
    (
        "PredictionsRefused",
        "20m",
        {
            'tidemill_gateway_requests_total{model="digits"}': "0+600x30",
            'tidemill_gateway_rejections_total{reason="Unavailable"}': "0+60x30",
        },
    ),
    ("GatewayFull", "5m", {"tidemill_gateway_waiting_rows": "7000x10"}),
]
"""An alert, when it must be on, and what was seen every minute until then."""


@pytest.mark.parametrize(("alert", "at", "seen"), [pytest.param(*each, id=each[0]) for each in LIVES])
def test_an_alert_rings_when_it_should_and_not_before(
    alert: str, at: str, seen: dict[str, str], promtool: str, tmp_path: Path
) -> None:
    asked = f'group by (alertname) (ALERTS{{alertname="{alert}", alertstate="firing"}})'
    rings = [{"labels": f'{{alertname="{alert}"}}', "value": 1}]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in seen.items()],
        "promql_expr_test": [
            {"expr": asked, "eval_time": "0m", "exp_samples": []},
            {"expr": asked, "eval_time": at, "exp_samples": rings},
        ],
    }
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "tests": [test]}))

    run(promtool, "test", "rules", str(file))
