"""Every metric is documented with its type and its labels, and no other."""

import re

import pytest

from adapters.metrics import levels, targets
from adapters.metrics.families import Families
from adapters.metrics.tables import MAX_ROWS, Counts, Spread
from tests.docs.pages import CHECKOUT, Row, codes, only_code, page
from tests.docs.watching import DASHBOARD, QUERIES, RULES, rule_queries

MONITORING = page("docs/monitoring.md")
METRICS = MONITORING.section("Metrics").rows("metric", "type", "labels", "unit", "meaning")
LABELS = {name: row for row in MONITORING.section("Labels").rows("label", "values") for name in codes(row["label"])}
TABLES = {each.name: each for each in (*Families().tables, *levels.LEVELS, *targets.LEVELS)}
TYPES = {Counts: "counter", Spread: "histogram"}


def test_every_metric_is_documented_once_and_no_other() -> None:
    assert sorted(only_code(row["metric"]) for row in METRICS) == sorted(TABLES)


@pytest.mark.parametrize("row", METRICS, ids=lambda row: only_code(row["metric"]))
def test_a_metric_has_the_type_and_the_labels_that_are_documented(row: Row) -> None:
    table = TABLES[only_code(row["metric"])]

    assert row["type"] == TYPES.get(type(table), "gauge")
    assert codes(row["labels"]) == list(table.labels)


@pytest.mark.parametrize("row", METRICS, ids=lambda row: only_code(row["metric"]))
def test_a_metric_is_named_for_its_unit(row: Row) -> None:
    name = only_code(row["metric"])

    assert name.endswith("_total") == (row["type"] == "counter")
    assert name.endswith("_seconds") == (row["unit"] == "seconds")


def test_every_label_is_explained() -> None:
    assert LABELS.keys() == {label for table in TABLES.values() for label in table.labels} | {"tenant"}


def test_the_metrics_with_a_label_for_the_tenant_are_named() -> None:
    own = {table.name for table in Families(tenants=True).tables if "tenant" in table.labels}

    assert {word for word in codes(LABELS["tenant"]["values"]) if word.startswith("sluice_")} == own


def test_the_bound_of_rows_is_the_codes() -> None:
    assert f"A metric has {MAX_ROWS:,} rows at most" in MONITORING.text


def test_every_attribute_of_a_span_is_documented() -> None:
    source = (CHECKOUT / "adapters/spans/drawing.py").read_text()
    told = set(re.findall(r'"((?:http|gen_ai|sluice|error)\.[\w.]+)"', source))

    documented = {name for row in MONITORING.rows("span", "attributes") for name in codes(row["attributes"])}

    assert documented == told


# --- the dashboard and the alerts ---------------------------------------------------------------------------------


def test_every_rule_and_every_panel_was_read() -> None:
    assert len(rule_queries()) == RULES.read_text().count("- alert:")
    assert all(panel["targets"] for panel in DASHBOARD["panels"] if panel["type"] != "row")


def test_every_metric_of_ours_is_on_the_dashboard_or_in_an_alert() -> None:
    asked = " ".join(QUERIES)

    assert {table.name for table in Families().tables if table.name not in asked} <= {
        # How often that happens is for who bills or audits.
        "sluice_completions_requested_total",
        "sluice_admin_changes_total",
        "sluice_target_changes_total",
    }


def test_every_alert_is_explained() -> None:
    explained = [name for row in MONITORING.rows("alert", "what to do") for name in codes(row["alert"])]

    assert explained == re.findall(r"- alert: (\w+)", RULES.read_text())
