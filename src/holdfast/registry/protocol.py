"""What Holdfast asks of a model registry. One file per adapter stands beside this one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a registered model; `version` is text although MLflow counts, `created` is UTC text."""

    model: str
    version: str
    source: str
    run_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    status: str = "READY"
    created: str | None = None


class Registry(Protocol):
    """A place that keeps versions of models and names some of them.

    Reading what does not exist gives None or an empty mapping, never an exception. Every method raises OutsideError in
    one sentence, within seconds, where the registry cannot be reached. Only the reconciler sets aliases.
    """

    uri: str

    def ensure_model(self, model: str) -> None:
        """Make the registered model if it is not there; safe for any number of racers."""
        ...

    def register(self, model: str, source: str, run_id: str | None, tags: Mapping[str, str]) -> Version:
        """Make a version of what `source` names; the same source gives the version that it already is."""
        ...

    def version(self, model: str, version: str) -> Version | None: ...

    def versions(self, model: str) -> list[Version]:
        """All versions, oldest first."""
        ...

    def has_files(self, model: str, version: str) -> bool:
        """Whether the files of a version can still be read from where the registry keeps them; asked anew."""
        ...

    def aliases(self, model: str) -> dict[str, str]: ...

    def set_alias(self, model: str, alias: str, version: str) -> None:
        """Point `alias` at `version`; of racers the last one wins, and none of them fails."""
        ...

    def delete_alias(self, model: str, alias: str) -> None:
        """Remove `alias`; nothing happens where there is none."""
        ...

    def stage_champion(self, model: str) -> Version | None:
        """The version in the deprecated stage Production, with a DeprecationWarning; None without."""
        ...

    def model_tags(self, model: str) -> dict[str, str]: ...

    def set_model_tag(self, model: str, key: str, value: str) -> None: ...

    def set_version_tag(self, model: str, version: str, key: str, value: str) -> None: ...

    def download(self, uri: str, folder: Path) -> Path:
        """The files of `models:/…` or `runs:/…` on this machine, inside `folder`; UserError where there are none."""
        ...

    def set_run_tags(self, run_id: str, tags: Mapping[str, str]) -> None: ...

    def runs_since(self, moment: datetime) -> list[str]:
        """The ids of runs that started at or after `moment`, oldest first."""
        ...
