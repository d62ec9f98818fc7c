"""A world whose process can be killed before any write, to the ledger or to the registry."""

from __future__ import annotations

from typing import Any

from holdfast.store import Store, open_store
from tests.fixtures.registries import MemoryRegistry
from tests.release.world import World

_WRITES = ("ensure_model", "register", "set_alias", "delete_alias", "set_model_tag", "set_version_tag")


class Killed(BaseException):
    """As sudden as SIGKILL: nothing that catches Exception sees it."""


class MortalWorld(World):
    """`killed_at(n)` lets n writes through and dies at the next one; `writes` counts them."""

    def __init__(self, store: Store | None = None) -> None:
        super().__init__(MemoryRegistry(), store or open_store("memory://"))
        self.left: int | None = None
        self.writes = 0
        for name in _WRITES:
            self._guard(self.registry, name)
        self._guard(self.ledger.store, "put_if_absent")

    def _guard(self, owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def guarded(*args: Any, **options: Any) -> Any:
            self.writes += 1
            if self.left is not None:
                if self.left == 0:
                    raise Killed
                self.left -= 1
            return real(*args, **options)

        setattr(owner, name, guarded)

    def attempt(self, act: Any, left: int | None = None) -> bool:
        """Whether `act` came to its end before it was killed."""
        self.left = left
        try:
            act()
        except Killed:
            return False
        finally:
            self.left = None
        return True
