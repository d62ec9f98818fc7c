from __future__ import annotations

import pytest

from tests.fixtures.registries import MemoryRegistry
from tests.release.world import World


@pytest.fixture
def world() -> World:
    """A model's ledger and registry, both in memory."""
    return World(MemoryRegistry())
