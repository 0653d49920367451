"""Every metric is documented with its type and its labels, and no other."""

import pytest

from adapters.metrics import levels, targets
from adapters.metrics.families import Families
from adapters.metrics.tables import MAX_ROWS, Counts, Spread
from tests.docs.pages import Row, codes, only_code, page

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
