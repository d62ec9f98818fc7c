"""A version loaded the way the project declares: in its own environment, in this process, or at another server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.config.schema import ModelConfig
from holdfast.config.serving import ServingConfig
from holdfast.environment.build import Unbuildable
from holdfast.environment.fingerprint import fingerprint
from holdfast.errors import Damaged, HoldfastError, OutsideError, Refused, UserError
from holdfast.models.reference import model_digest, read_mlmodel
from holdfast.registry import Registry
from holdfast.release.state import ReleaseVersion
from holdfast.serving.models.environments import Own, environment_at, own_environment, told
from holdfast.serving.models.in_process import InProcessModel
from holdfast.serving.models.process import ProcessModel
from holdfast.serving.models.running import LoadRequest, Start
from holdfast.serving.models.signature import Signature, read_signature
from holdfast.serving.models.upstream import UpstreamModel
from holdfast.serving.served import ServedModel
from holdfast.store import Store


class Progress:
    """What loading is at, for whoever waits for it. Begun and ended in any thread."""

    def __init__(self) -> None:
        self._under_way: dict[object, tuple[str, str, float]] = {}

    @contextlib.contextmanager
    def of(self, version: ReleaseVersion, what: str) -> Iterator[None]:
        """`what` is done for `version` meanwhile."""
        key = object()
        self._under_way[key] = version.version, what, time.monotonic()
        try:
            yield
        finally:
            del self._under_way[key]

    def told(self) -> dict[str, str]:
        """By version what is done for it and for how long; what began first, where a second try is under way beside it."""
        now = time.monotonic()
        return {
            version: f"{what}, for {now - since:,.0f} s so far"
            for version, what, since in reversed(list(self._under_way.values()))
        }


_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Source:
    """What loading needs of a project. `python` is the project's interpreter, `cache` a folder of this machine."""

    root: Path
    cache: Path
    python: Path
    model: ModelConfig
    store: Store
    registry: Callable[[], Registry]
    progress: Progress = field(default_factory=Progress)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A version that is loaded. `folder` holds its files (None upstream), `is_own` whether it is in its own environment."""

    model: ServedModel
    folder: Path | None = None
    is_own: bool = True
    note: str = ""


async def load(version: ReleaseVersion, source: Source, serving: ServingConfig) -> Loaded:
    """`version` loaded as `serving.mode` says, within `serving.load_timeout`; what is slow is done in threads.

    Raises Refused where it would run in an environment that is not its own and is not allowed by name, or where it needs a
    pickle that is not allowed; Damaged where its files are not those that were released; UserError or OutsideError where
    it cannot be loaded. Nothing keeps running then.
    """
    seconds = serving.load_timeout.total_seconds()
    if serving.mode == "upstream":
        return await _upstream(version, source, serving, seconds)
    try:
        async with asyncio.timeout(seconds):
            folder = await asyncio.to_thread(_files, version, source)
            own = await asyncio.to_thread(own_environment, version.lineage, source.store, source.cache)
            request = await asyncio.to_thread(_request, version, source, folder)
            signature = read_signature(read_mlmodel(folder), source.model.predict)
            start = _in_process if serving.mode == "in_process" else _in_environment
            return await start(_Task(version, source, serving, folder, own, request, signature))
    except TimeoutError:
        doing = source.progress.told().get(version.version)
        raise OutsideError(
            f"version {version.version} of {source.model.name} was not loaded within {seconds:g} s"
            f"{f': {doing}' if doing else ''}.",
            hint="Raise `serving: {load_timeout: …}`; what was built of its environment by then is kept.",
            reason_code="model_timed_out",
        ) from None


@dataclass(frozen=True)
class _Task:
    version: ReleaseVersion
    source: Source
    serving: ServingConfig
    folder: Path
    own: Own | None
    request: LoadRequest
    signature: Signature

    @property
    def is_allowed(self) -> bool:
        """Whether it may run in an environment other than its own."""
        return self.version.version in self.serving.allow_other_environment

    @property
    def seconds(self) -> float:
        return self.serving.load_timeout.total_seconds()

    def refuse(self, why: str, hint: str | None = None) -> None:
        """Refused with one sentence, unless the version is allowed by name."""
        if self.is_allowed:
            return
        allow = f"allow it by name: `serving: {{allow_other_environment: ['{self.version.version}']}}`."
        raise Refused(
            f"{self.request.name} cannot be served in its own environment: {why}.",
            hint=f"{hint} Or {allow}" if hint else allow[0].upper() + allow[1:],
            reason_code="other_environment",
        )


def _files(version: ReleaseVersion, source: Source) -> Path:
    """The version's files on this machine, verified to be those that the ledger released."""
    name = f"models:/{source.model.name}/{version.version}"
    with source.progress.of(version, "its files are being fetched"):
        folder = _fetched(name, version, source)
        found = model_digest(folder)
    if found != version.digest:
        raise Damaged(
            f"the files of {name} are {found}, but {version.digest} was released.",
            hint=f"Delete {folder} if it was changed on this machine; else the registry's files were.",
        )
    return folder


def _fetched(name: str, version: ReleaseVersion, source: Source) -> Path:
    """From the registry; where it is away, the same files as this machine has kept them: their content is their name."""
    place = source.cache / "models"
    try:
        return source.registry().download(name, place)
    except OutsideError as error:
        kept = (found.parent for found in sorted(place.glob("*/MLmodel")))
        folder = next((folder for folder in kept if model_digest(folder) == version.digest), None)
        if folder is None:
            raise
        _log.warning("%s Version %s is loaded from what this machine has kept.", error.message, version.version)
        return folder


def _request(version: ReleaseVersion, source: Source, folder: Path) -> LoadRequest:
    name = f"version {version.version} of {source.model.name}"
    config = source.model
    return LoadRequest(folder, source.root, name=name, predict=config.predict, allow_pickle=config.allow_pickle)


async def _in_environment(task: _Task) -> Loaded:
    python, is_own, note = await asyncio.to_thread(_interpreter, task)
    serving = task.serving
    if serving.memory is not None and not Path("/proc/self/statm").exists():
        raise UserError("serving.memory is watched through /proc, which this system does not have.")
    start = Start(
        python=python,
        request=task.request,
        load_timeout=task.seconds,
        without=frozenset({serving.admin_token, serving.log.unit_key or ""}),
        memory=serving.memory,
    )
    with task.source.progress.of(task.version, "it is being loaded"):
        model = await ProcessModel.start(task.version.version, start, task.signature, processes=serving.processes)
    return Loaded(model=model, folder=task.folder, is_own=is_own, note=note)


def _interpreter(task: _Task) -> tuple[Path, bool, str]:
    """The interpreter to serve with, whether it is the version's own environment, and what is to be said of it."""
    source = task.source
    if task.own is None:
        task.refuse("none is recorded, because it was not trained through Holdfast", "Train it with `holdfast run`.")
        return source.python, False, f"in the project's environment ({source.python}): none of its own is recorded"
    try:
        with source.progress.of(task.version, "its environment is being made"):
            python = environment_at(task.own, source.cache / "environments", python=source.python, cwd=source.root)
    except HoldfastError as error:
        if _may_pass(error) and not task.is_allowed:
            raise  # no network, no room: it says nothing of the version
        task.refuse(error.message.rstrip("."), error.hint)
        return source.python, False, f"in the project's environment ({source.python}): {error.message}"
    return python, True, f"in its own environment ({task.own.fingerprint.digest[:15]}…)"


def _may_pass(error: HoldfastError) -> bool:
    return isinstance(error, OutsideError) and not isinstance(error, (Unbuildable, Damaged))


async def _in_process(task: _Task) -> Loaded:
    is_own = False
    if task.own is None:
        task.refuse("none is recorded, and it would run in this process")
    else:
        here = await asyncio.to_thread(fingerprint, sys.executable, task.source.root)
        is_own = here.digest == task.own.fingerprint.digest
        if not is_own:
            why = f"this process has another one ({told(task.own.fingerprint, here)})"
            task.refuse(why, "Write `serving: {mode: environment}`.")
    _refuse_shared_code(task)
    model = await InProcessModel.start(task.version.version, task.request, task.signature, load_timeout=task.seconds)
    return Loaded(model=model, folder=task.folder, is_own=is_own, note="in this process")


def _refuse_shared_code(task: _Task) -> None:
    """Two versions that bring modules of the same name would both run the code of the one that came first."""
    code = task.folder / "code"
    for entry in sorted(code.iterdir()) if code.is_dir() else ():
        name = entry.stem if entry.suffix == ".py" else entry.name
        loaded: Any = sys.modules.get(name)
        places = [getattr(loaded, "__file__", None) or "", *map(str, getattr(loaded, "__path__", []))]
        if loaded is not None and not any(Path(place).is_relative_to(code) for place in places if place):
            raise Refused(
                f"{task.request.name} brings its own module {name}, and this process has another one of that name already.",
                hint="Write `serving: {mode: environment}`: each version then has a process of its own.",
                reason_code="module_clash",
            )


async def _upstream(version: ReleaseVersion, source: Source, serving: ServingConfig, seconds: float) -> Loaded:
    if serving.upstream is None:
        raise Refused(
            "serving.mode is upstream, and serving.upstream names no URL.", hint="Write one with {version} in it."
        )
    model = await UpstreamModel.start(
        version.version, serving.upstream, serving.upstream_protocol, source.model.name, load_timeout=seconds
    )
    return Loaded(model=model, is_own=False, note=f"at {model.where}, whose environment is not known here")
