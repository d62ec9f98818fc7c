"""Adapters to what sends requests to versions, one file each."""

from holdfast.release.routers.files import FileRouter
from holdfast.release.routers.memory import MemoryRouter

__all__ = ["FileRouter", "MemoryRouter"]
