"""What tests of a completion share."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests import virtual_time
from tests.domain.completions.world import World


@pytest.fixture
def anyio_backend() -> tuple[str, Mapping[str, Any]]:
    """Whoever waits here waits for a timer or for somebody who does: time passes as soon as all of them wait."""
    return virtual_time.backend()


@pytest.fixture
def world() -> World:
    return World()
