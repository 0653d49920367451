"""The benchmarks run, and every answer under their load is right; what they measure is nobody's business here."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway import CHECKOUT

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_a_short_round_finds_no_fault_in_any_answer(tmp_path: Path) -> None:
    results = tmp_path / "results.json"

    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--targets", "direct,gateway", "--json", results],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert "| requests/s, 64 in flight |" in ended.stdout
    assert results.exists()
