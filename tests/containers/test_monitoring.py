"""What alerts and dashboard ask for, asked of services that run."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.containers.compose_project import ComposeProject
from tests.containers.outside import Outside
from tests.unit.deployment.monitoring import jobs, names_in, queries

READ = "import sys, urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[1], timeout=10).read().decode())"
ENDINGS = ("_total", "_bucket", "_sum", "_count", "_created")


def families(text: str) -> set[str]:
    """The metrics of an exposition without endings: one whose labels were never seen has no sample yet."""
    return {family.name for family in text_string_to_metric_families(text)}


@pytest.fixture(scope="module")
def shown(project: ComposeProject, trained: Outside) -> dict[str, set[str]]:
    """What each service shows where Prometheus is told to look."""
    return {
        job: families(project.run_in(job, "python", "-c", READ, f"http://127.0.0.1:{port}/metrics"))
        for job, port in jobs().items()
    }


def test_every_service_shows_how_its_process_is(shown: dict[str, set[str]]) -> None:
    for job, names in shown.items():
        assert {"process_start_time_seconds", "process_resident_memory_bytes", "process_open_fds"} <= names, (
            job
        )


def test_every_query_finds_its_metrics_in_a_service_that_runs(shown: dict[str, set[str]]) -> None:
    everywhere = {"up"}.union(*shown.values())
    asked = {name for query in queries() for name in names_in(query.values[0])}
    bare = {next((name.removesuffix(end) for end in ENDINGS if name.endswith(end)), name) for name in asked}

    assert len(bare) > 20
    assert bare - everywhere == set()


def test_what_profiles_add_is_understood_by_compose(project: ComposeProject) -> None:
    """Their images may be out of reach; their descriptions are not."""
    always = set(project.compose("config", "--services").split())
    every = ("--profile", "monitoring", "--profile", "demo")

    assert set(project.compose(*every, "config", "--services").split()) - always == {
        "prometheus",
        "grafana",
        "demo",
    }
