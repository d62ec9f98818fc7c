"""`holdfast serve`: one replica of a project's gateway, everything opened and wired, and closed in the right order.

client ─► app ─► gateway ─► a version          follower ◄─ ledger, routing document
                    └─► segments ─► keeper ─► log tables ─► live evidence ─► summaries
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from holdfast.data.profile import Profile
from holdfast.errors import HoldfastError
from holdfast.evidence.delta_log import DeltaLog
from holdfast.evidence.own import Mark
from holdfast.pipeline.data_stages import open_holdout
from holdfast.pipeline.workspace import Workspace
from holdfast.release import ReleaseState, ReleaseVersion
from holdfast.release.replicas import NameTaken
from holdfast.serving.admin import Admin, token_of
from holdfast.serving.app import App
from holdfast.serving.following import Follower
from holdfast.serving.gateway import Gateway
from holdfast.serving.ids import MARK_PLACE
from holdfast.serving.limits import Limits
from holdfast.serving.live import LiveEvidence, LiveProfile
from holdfast.serving.loaded import LINGER
from holdfast.serving.log.compaction import folder_identity
from holdfast.serving.log.cursor import drop_cursor
from holdfast.serving.log.housekeeping import Housekeeping
from holdfast.serving.log.writer import LogWriter
from holdfast.serving.metrics import Metrics, watch_live, watch_log, watch_tables
from holdfast.serving.models.loading import Source
from holdfast.serving.models.warming import Golden, golden_rows, load_warm
from holdfast.serving.outcomes import OutcomeIntake
from holdfast.serving.served import ServedModel
from holdfast.serving.server import Listener, serve
from holdfast.serving.tracing import configured

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listening:
    """Where a replica answers: `replica` is its name, the ports are those it got."""

    replica: str
    host: str
    port: int
    admin_host: str
    admin_port: int


class Replica:
    """One gateway process of a project. `run` serves until it is told to stop.

    `changed` are settings in place of the declared ones, such as a port. Raises OutsideError where a port is taken or the log's
    folder cannot be used, NameTaken where another process is this replica, UserError where a setting is wrong.
    """

    def __init__(self, workspace: Workspace, **changed: Any) -> None:
        self.workspace = workspace
        self.settings = workspace.config.serving.model_copy(update=changed)
        self._reference: str | None = None
        self._ended = threading.Event()

    async def run(
        self, *, started: Callable[[Listening], None] = lambda _: None, stop: asyncio.Event | None = None
    ) -> None:
        """Serve until SIGTERM, SIGINT or `stop`; then answer and keep what was accepted."""
        clients = Listener(self.app, self.settings.host, self.settings.port, self._limits)
        admin = Listener(self.admin, self.settings.admin_host, self.settings.admin_port, Limits())
        host = self.settings.admin_host
        reached = socket.gethostname() if host in ("0.0.0.0", "::", "") else host  # noqa: S104 - what the user wrote
        self.follower.announce_at(f"http://{reached}:{admin.port}")
        told = Listening(self.name, self.settings.host, clients.port, host, admin.port)
        self._start_threads()
        stop = stop or asyncio.Event()
        following = asyncio.create_task(self.follower.run())
        following.add_done_callback(lambda _: stop.set())  # it ends by itself only where the name is another's
        try:
            await serve(
                [clients, admin], started=lambda: started(told), draining=self.gateway.drain, closing=None, stop=stop
            )
        finally:
            await self._close(following)

    @cached_property
    def folder(self) -> Path:
        """Where this machine keeps segments."""
        return Path(self.workspace.project.path(self.settings.log.folder))

    @cached_property
    def predictions(self) -> LogWriter:
        log = self.settings.log
        return LogWriter(
            self.folder,
            durable=log.durable,
            on_failure=log.on_failure,
            segment_bytes=log.segment,
            segment_seconds=log.compact_every.total_seconds(),
        )

    @cached_property
    def outcomes(self) -> LogWriter:
        log = self.settings.log
        seconds = log.compact_every.total_seconds()
        return LogWriter(self.folder, stream="outcomes", durable=log.durable, segment_seconds=seconds)

    @cached_property
    def name(self) -> str:
        """The same after a restart on the same folder, and no other replica's."""
        return f"{folder_identity(self.folder)[:12]}-{self.predictions.replica}"

    @cached_property
    def mark(self) -> Mark:
        return Mark.of(self.name, MARK_PLACE)

    @cached_property
    def gateway(self) -> Gateway:
        metrics = Metrics()
        watch_log(metrics, self.predictions)
        watch_tables(metrics, self.keeper)
        watch_live(metrics, self.live)
        return Gateway(
            self.workspace.model,
            self.settings,
            self.predictions,
            metrics=metrics,
            tracing=configured(),
            on_trip=lambda trip: self.follower.trip(trip),  # noqa: PLW0108 - the follower needs the gateway first
            observe=self.live.observe,
            mark=self.mark.text,
            micros=lambda: round(self.workspace.clock().timestamp() * 1e6),
        )

    @cached_property
    def app(self) -> App:
        return App(self.gateway, self._limits, OutcomeIntake(self.outcomes.append, self.workspace.clock))

    @cached_property
    def admin(self) -> Admin:
        return Admin(self.gateway, token_of(self.settings), nudge=self.follower.nudge, status=self.status)

    @cached_property
    def follower(self) -> Follower:
        work = self.workspace
        return Follower(
            work.store,
            work.model,
            load=self._load,
            use=self.gateway.route,
            hear=self._hear,
            named=self.live.start,
            progress=self._source.progress.told,
            able=lambda: not self.predictions.refuses,
            replica=self.name,
            poll=self.settings.poll.total_seconds(),
            linger=max(LINGER, 3 * self.settings.timeout.total_seconds()),  # a request may hold its table for two calls
        )

    @cached_property
    def keeper(self) -> Housekeeping:
        work = self.workspace
        return Housekeeping(
            self.folder,
            work.ledger,
            work.model,
            clock=work.clock,
            complain=lambda sentence: logger.warning("log tables: %s", sentence),
            keep=self.settings.log.keep,
        )

    @cached_property
    def live(self) -> LiveEvidence:
        work = self.workspace
        log = DeltaLog(work.store, work.model)
        return LiveEvidence(
            self.name, work.store, work.model, log, mark=self.mark, settle=self.keeper.once, clock=work.clock
        )

    def status(self) -> dict[str, Any]:
        """For `/status` of the admin port."""
        live = self.live.counts
        return {
            **self.follower.status(),
            "tables": {
                "rows": self.keeper.done.rows,
                "outcomes": self.keeper.done.outcomes,
                "trouble": self.keeper.trouble,
            },
            "live": {
                "written": live.written,
                "failed": live.failed,
                "read_back": live.read_back,
                "trouble": live.trouble,
            },
        }

    @cached_property
    def _limits(self) -> Limits:
        return Limits.of(self.settings)

    @cached_property
    def _shipper(self) -> Any:
        """What brings the log to Kafka, where the project names a topic; without one no cursor may hold segments back."""
        if self.settings.log.kafka is None:
            for stream in ("predictions", "outcomes"):
                drop_cursor(self.folder, stream)
            return None
        from holdfast.serving.log.kafka import KafkaShipper

        return KafkaShipper(self.folder, self.settings.log.kafka)

    def _start_threads(self) -> None:
        if self._shipper is not None:
            self._shipper.start()
        self._keeping = threading.Thread(
            target=self.keeper.run, args=(self.settings.log.compact_every, self._ended), name="holdfast-log-keeper"
        )
        self._keeping.start()

    async def _close(self, following: asyncio.Task[None]) -> None:
        """Requests first, then what they wrote, then what was made of it."""
        following.cancel()
        (ended,) = await asyncio.gather(following, return_exceptions=True)
        await self.gateway.close()
        await self.follower.close()
        for close in (self.predictions.close, self.outcomes.close):
            await asyncio.to_thread(close)
        self._ended.set()
        await asyncio.to_thread(self._keeping.join)
        await asyncio.to_thread(self.live.close, flush=not isinstance(ended, NameTaken))
        if self._shipper is not None:
            await asyncio.to_thread(self._shipper.close)
        if self.gateway.tracing is not None:
            await asyncio.to_thread(self.gateway.tracing.close)
        if isinstance(ended, Exception):
            raise ended

    async def _load(self, version: ReleaseVersion) -> ServedModel:
        return await load_warm(version, self._source, self.settings, lambda: self._golden(version))

    @cached_property
    def _source(self) -> Source:
        work = self.workspace
        return Source(
            root=work.root,
            cache=work.cache,
            python=Path(work.python),
            model=work.config.model,
            store=work.store,
            registry=lambda: work.registry,
        )

    def _golden(self, version: ReleaseVersion) -> Golden | None:
        """What the version answered for rows of the holdout before its release; None where nothing is on record."""
        work = self.workspace
        try:
            holdout = open_holdout(work)
        except HoldfastError:
            return None
        return golden_rows(
            work.store,
            holdout.path,
            model_digest=version.digest,
            holdout_digest=holdout.digest,
            environment=version.lineage.get("environment"),
            label=work.config.data.label,
            group=work.config.data.group,
            positive=work.config.model.positive,
        )

    def _hear(self, state: ReleaseState) -> None:
        """Before requests are routed by a new state: whose evidence counts, and what inputs are compared with."""
        self.live.tell(state.living)
        lineage = {} if state.champion is None else state.champion.lineage
        if lineage.get("profile") != self._reference:
            self._reference = lineage.get("profile")
            asyncio.get_running_loop().run_in_executor(None, self._use_profile, self._reference)

    def _use_profile(self, reference: str | None) -> None:
        store, model = self.workspace.store, self.workspace.model
        if reference is None:
            self.live.use_profile(None)
            return
        profile = Profile.from_json(json.loads(store.get_object(reference)))
        self.live.use_profile(LiveProfile(self.name, store, model, profile, reference))
