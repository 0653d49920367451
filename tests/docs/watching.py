"""What the dashboard and the alerts ask of Prometheus."""

import json
import re
from typing import Any

from tests.docs.pages import CHECKOUT

RULES = CHECKOUT / "deploy/prometheus/alerts.yml"
DASHBOARD: dict[str, Any] = json.loads((CHECKOUT / "deploy/grafana/sluice.json").read_text())


def dashboard_queries() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]


def rule_queries() -> list[str]:
    """The expressions of the rules; YAML is not read, their form is."""
    blocks = re.findall(r"expr: (?:\|\n((?: {10,}.*\n)+)|(.*)\n)", RULES.read_text())
    return [" ".join(several.split()) or one for several, one in blocks]


QUERIES = (*dashboard_queries(), *rule_queries())
