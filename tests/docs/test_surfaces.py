"""Routes, fields, headers and the form of a stream are those that are documented."""

import json
import re

from domain import runs
from entrypoints.http import json_body
from entrypoints.http.headers import MAX_WAIT
from entrypoints.http.schema import GATEWAY_FIELDS, GatewayRequest
from tests.docs.app import documented_routes, routes
from tests.docs.pages import codes, page
from tests.docs.sources import headers_read, headers_sent

SURFACES = page("docs/surfaces.md")
HEADERS = SURFACES.section("Headers").rows("header", "meaning")


def test_every_route_is_documented_and_no_other() -> None:
    assert documented_routes() == routes()


def test_every_field_of_a_request_is_documented() -> None:
    documented = SURFACES.section("The request").words

    assert set(GatewayRequest.model_fields) - documented == set()


def test_the_gateways_own_fields_are_documented_as_never_sent_on() -> None:
    rows = SURFACES.section("The request").rows("field", "what the gateway does with it")

    own = {codes(row["field"])[0] for row in rows if "never sent on" in row["what the gateway does with it"]}

    assert own == GATEWAY_FIELDS


def test_every_header_that_is_read_is_documented_and_no_other() -> None:
    documented = {name.lower() for row in HEADERS if "on" not in row for name in codes(row["header"])}

    assert documented == headers_read()


def test_every_header_that_is_sent_is_documented_and_no_other() -> None:
    documented = {name.lower() for row in HEADERS if "on" in row for name in codes(row["header"])}
    # Their last word is put in when they are sent; Allow is Sanic's, whose exception brings it;
    # Connection is HTTP's, and Vary looks like any word.
    families = {re.sub(r"(?<=-)(requests|tokens)$", "", name) if "ratelimit" in name else name for name in documented}

    assert families == headers_sent() | {"allow", "connection", "vary"}


def test_the_example_of_a_stream_has_the_ids_that_a_stream_has() -> None:
    (example,) = [block for block in SURFACES.section("A stream").blocks("") if "data:" in block]
    ids = re.findall(r"^id: (\S+):1-(\d+)$", example, re.MULTILINE)
    chunks = [json.loads(data) for data in re.findall(r"^data: (\{.*)$", example, re.MULTILINE)]

    tail = len(chunks)

    assert all(runs.is_run_id(run_id) for run_id, _ in ids)
    assert [int(number) for _, number in ids] == [*range(1, tail + 1), tail + runs.END_PLACE]
    assert {chunk["id"] for chunk in chunks} == {ids[0][0]}


def test_the_bounds_are_those_of_the_code() -> None:
    text = " ".join(SURFACES.text.split())

    assert f"more than {json_body.MAX_DEPTH} levels" in text
    assert f"more than {json_body.MAX_NODES:,} values" in text
    assert f"N seconds, {MAX_WAIT} at most" in text
