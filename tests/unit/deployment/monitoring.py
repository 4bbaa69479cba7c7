"""What the monitoring in containers/monitoring asks for, read from its files."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "containers/monitoring"
ALERTS = MONITORING / "prometheus/alerts.yaml"
SETTINGS = MONITORING / "prometheus/prometheus.yaml"
WORDS = {"sum", "by", "rate", "increase", "changes", "absent", "vector", "count", "le", "and", "or"}
WORDS |= {"histogram_quantile", "label_values"}


def jobs() -> dict[str, int]:
    """What Prometheus collects: each service's port."""
    found = {}
    for job in yaml.safe_load(SETTINGS.read_text())["scrape_configs"]:
        (place,) = job["dns_sd_configs"]
        (service,) = place["names"]
        found[service] = place["port"]
    return found


def queries() -> list[Any]:
    """The queries of alerts and dashboard, as parameters of a test."""
    rules = yaml.safe_load(ALERTS.read_text())
    found = [(rule["alert"], rule["expr"]) for group in rules["groups"] for rule in group["rules"]]
    for panel in dashboard()["panels"]:
        found += [(panel["title"], target["expr"]) for target in panel.get("targets", [])]
    return [pytest.param(expression, id=name.replace(" ", "-")) for name, expression in found]


@cache
def dashboard() -> dict[str, Any]:
    file = MONITORING / "grafana/dashboards/tidemill.json"
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def names_in(expression: str) -> set[str]:
    """The metrics of a query: identifiers that are no label, no function and no duration."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"|\b(by|without)\s*\([^)]*\)", " ", expression)
    return set(re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", bare)) - WORDS


def labels_in(expression: str) -> set[str]:
    matched = {
        name
        for found in re.findall(r"\{([^}]*)\}", expression)
        for name in re.findall(r"(\w+)\s*[=!]", found)
    }
    grouped = {
        name for found in re.findall(r"\bby\s*\(([^)]*)\)", expression) for name in re.split(r"[,\s]+", found)
    }
    return matched | grouped - {""}
