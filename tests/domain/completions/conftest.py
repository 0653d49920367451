"""What tests of a completion share."""

import pytest

from tests.domain.completions.world import World


@pytest.fixture
def world() -> World:
    return World()
