"""One project opened: its declaration and, each when first used, its store, ledger, registry and environment."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from holdfast.config.loader import LoadedProject, load_project
from holdfast.config.schema import Project
from holdfast.data.profile import Profile
from holdfast.data.tables import Table, open_table
from holdfast.environment import Fingerprint, find_python, fingerprint, resolve_python
from holdfast.ledger import Ledger
from holdfast.registry import Registry, open_registry
from holdfast.release import ReleaseState, read_state
from holdfast.store import Store, canonical_json, digest, open_store


def utc_now() -> datetime:
    """The aware UTC time; the default clock."""
    return datetime.now(UTC)


class Workspace:
    """Everything a stage may touch, opened lazily: a run with nothing to do never imports the registry's client."""

    def __init__(
        self, project: LoadedProject, *, clock: Callable[[], datetime] = utc_now, python: str | Path | None = None
    ) -> None:
        self.project = project
        self.clock = clock
        self._named_python = python

    @classmethod
    def open(
        cls,
        path: str | Path = "holdfast.yaml",
        *,
        clock: Callable[[], datetime] = utc_now,
        python: str | Path | None = None,
    ) -> Workspace:
        """The workspace of a project file; `python` is used in place of the declared interpreter. ConfigError where the
        file is wrong.
        """
        return cls(load_project(path), clock=clock, python=python)

    @property
    def config(self) -> Project:
        return self.project.config

    @property
    def model(self) -> str:
        return self.config.model.name

    @property
    def root(self) -> Path:
        return self.project.root

    @cached_property
    def cache(self) -> Path:
        """A folder of this machine for downloads and parts; losing it costs time only."""
        folder = self.root / ".holdfast" / "cache"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        ignore = self.root / ".holdfast" / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
        return folder

    @cached_property
    def store(self) -> Store:
        url = self.config.store
        return open_store(url if "://" in url else self.project.path(url))

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.store, clock=self.clock)

    @cached_property
    def registry(self) -> Registry:
        return open_registry(self.config.registry, self.root)

    @cached_property
    def python(self) -> Path:
        """The interpreter of the environment in which the user's commands and models run."""
        if self._named_python is not None:
            return find_python(self._named_python)
        named = self.config.model.python
        if named is not None:
            return self.project.path(named)
        command = self.config.train.run if self.config.train is not None else "python"
        return resolve_python(command, self.root)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        return fingerprint(self.python, self.root)

    @cached_property
    def table(self) -> Table:
        return open_table(self.project.path(self.config.data.train))

    @property
    def policy(self) -> dict[str, Any]:
        return self.project.policy()

    @property
    def policy_digest(self) -> str:
        return digest(canonical_json(self.policy))

    def state(self) -> ReleaseState:
        """Who is champion, previous and candidate, folded from the ledger as it stands now."""
        return read_state(self.ledger, self.model)

    def champion_lineage(self) -> Mapping[str, Any]:
        """What is recorded of the champion's making: data, profiles, environment, commit; empty without a champion."""
        champion = self.state().champion
        return {} if champion is None else champion.lineage

    def champion_profile(self, which: Literal["profile", "table_profile"] = "profile") -> Profile | None:
        """The profile of the champion's training part, or of the whole table it was split from; None if not recorded."""
        found = self.champion_lineage().get(which)
        return None if found is None else Profile.from_json(json.loads(self.store.get_object(found)))
