"""The API is what its description says: requests that Schemathesis makes up from it, to a gateway as it is served."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.auth.mint import mint
from entrypoints.demo import TENANT, USER
from tests.gateway import CHECKOUT, SECRET, GatewayProcess
from tests.provider.process import ProviderProcess

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

#: What nobody can make up. Whatever else is asked for is Schemathesis's idea.
_KNOWN = f"""
[parameters]
"path.scope" = "{TENANT}"
"header.X-Tenant-Id" = "{TENANT}"
"path.name" = "echo"
"""
_CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance",
)  # fmt: skip


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[GatewayProcess]:
    with ProviderProcess.start() as provider:
        environment = {
            "SLUICE_DEMO": "1",
            "SLUICE_JWT_SECRET": SECRET,
            "SLUICE_UPSTREAM": provider.base_url,
            "SLUICE_REQUESTS_PER_MINUTE": "",
        }
        with GatewayProcess.start(tmp_path / "gateway.log", environment) as running:
            yield running


def test_every_answer_is_one_that_is_described(demo: GatewayProcess, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(_KNOWN)
    token = mint(SECRET.encode(), USER, tenants=(TENANT,), groups={}, lifetime=600, now=time.time())
    options = ("--max-examples=8", "--seed=1", "--phases=examples,fuzzing,stateful", "--generation-database=none")

    found = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", tmp_path / "schemathesis.toml"),
            *("run", f"{demo.origin}/openapi.json", f"--header=Authorization: Bearer {token}"),
            *(f"--checks={','.join(_CHECKS)}", "--no-color", *options),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        # It keeps notes where it is run.
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )

    assert found.returncode == 0, found.stdout + found.stderr
    # Some of what it made up was good enough for a provider, and some was not.
    assert "method=POST status_code=200" in demo.log
    assert "method=POST status_code=400" in demo.log
    assert "Unexpected error" not in demo.log
