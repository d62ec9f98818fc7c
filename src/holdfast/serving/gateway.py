"""The road of one request: admitted, assigned, answered, logged. It knows no protocol and nothing in it blocks."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from holdfast.config.serving import ServingConfig
from holdfast.serving.admission import Admission
from holdfast.serving.aside import Aside, is_large
from holdfast.serving.assignment import Assigned, Variant, assign
from holdfast.serving.breaker import Breaker
from holdfast.serving.checks import Layout, layout_of, nonsense
from holdfast.serving.ids import PredictionIds
from holdfast.serving.log.encoding import encode
from holdfast.serving.log.kept import kept_inputs, kept_unit, unit_key
from holdfast.serving.log.writer import LogUnavailable
from holdfast.serving.metrics import Metrics
from holdfast.serving.payload import Payload
from holdfast.serving.records import Record
from holdfast.serving.served import BadInput, ModelFault, ServedModel
from holdfast.serving.table import RoutingTable
from holdfast.serving.tracing import Tracing

log = logging.getLogger(__name__)
_NO_REASON = ModelFault("raised", "the version gave neither an answer nor a reason.")


class NotReady(Exception):
    """No version is loaded yet (HTTP 503)."""


class NotServing(Exception):
    """The version that the client names is not one that answers here (HTTP 404)."""


class Unanswered(Exception):
    """Neither the assigned version nor the champion gave an answer (HTTP 502, 503 or 504 by `fault`)."""

    def __init__(self, error: ModelFault, variant: Variant, version: str) -> None:
        super().__init__(str(error))
        self.fault, self.variant, self.version = error.fault, variant, version


class Sink(Protocol):
    """Where records go, such as a LogWriter: `append` returns when the record is as safe as the project asks.

    Where a record cannot be kept it raises LogUnavailable, or gives False if the project answers all the same. `refuses` is
    whether it would raise now.
    """

    @property
    def refuses(self) -> bool: ...

    async def append(self, payload: bytes) -> bool: ...


class Asked(NamedTuple):
    """A request, whatever protocol brought it. `wish` is a tester's variant, `version` the one that the client insists on.

    `write` makes the protocol's answer of outputs and their version. It belongs to the call: where a canary's outputs cannot be
    written, the champion answers.
    """

    payload: Payload
    write: Callable[[Payload, str], Any]
    unit: str | None = None
    wish: Variant | None = None
    version: str | None = None


class Answered(NamedTuple):
    """The answer: `content` as `write` made it, `variant` as assigned, `version` the one that answered."""

    content: Any
    prediction_id: str
    variant: Variant
    version: str


@dataclass(frozen=True, slots=True)
class Trip:
    """The breaker of this replica opened: which canary of which release, under which routing, and why."""

    release: str | None
    version: str
    epoch: int
    reason: str


class _Call(NamedTuple):
    """What came of asking a version: outputs and what was written of them, or why there are none."""

    version: str
    ms: float
    outputs: Payload | None = None
    content: Any = None
    error: ModelFault | BadInput | None = None

    @property
    def fault(self) -> str | None:
        """The fault as the log says it; a version that refuses what the other one takes raised."""
        if self.error is None:
            return None
        return self.error.fault if isinstance(self.error, ModelFault) else "raised"


class _Request(NamedTuple):
    """One request on its way, with the table that it saw when it came."""

    id: str
    micros: int
    table: RoutingTable
    asked: Asked
    assigned: Assigned


class Gateway:
    """Answers requests for `model` by the routing table that `route` gave it last. One event loop, one gateway.

    `on_trip` is told when the breaker opens, `observe` of each record with the inputs once it is logged. `mark` is in this
    replica's prediction ids (see PredictionIds), `micros` gives UTC microseconds.
    """

    def __init__(
        self,
        model: str,
        settings: ServingConfig,
        sink: Sink,
        *,
        metrics: Metrics | None = None,
        tracing: Tracing | None = None,
        on_trip: Callable[[Trip], None] | None = None,
        observe: Callable[[Record, Payload], None] | None = None,
        mark: str | None = None,
        micros: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self.model, self.settings, self.sink = model, settings, sink
        self._key = unit_key(settings.log.unit_key)
        self.metrics = metrics or Metrics()
        self.tracing, self.on_trip, self.observe = tracing, on_trip, observe
        self.aside = Aside()
        self.admission = Admission(settings.queue, settings.canary_queue)
        self.breaker = Breaker(settings.breaker_faults, settings.breaker_window.total_seconds())
        self.table: RoutingTable | None = None
        self.is_draining = False
        self.shed = 0
        self.shadows_left_out = 0
        self._timeout = settings.timeout.total_seconds()
        self._ids, self._micros = PredictionIds(mark), micros
        self._layout: Layout | None = None
        self._shadows: set[asyncio.Task[None]] = set()
        self._most_shadows = max(1, int(settings.queue * settings.canary_queue))
        self._ask = self._call if tracing is None else self._traced
        self._watch()

    def route(self, table: RoutingTable) -> None:
        """Answer by `table` from the next request on. A canary whose breaker is open is not asked until its release is over."""
        if self.table is None or self.table.champion is not table.champion:
            self._layout = None
        self.breaker.follow(table.routing.release)
        self.table = dataclasses.replace(table, canary=None) if self.breaker.is_open else table

    @property
    def is_ready(self) -> bool:
        """Whether new requests may be sent here."""
        table = self.table
        return table is not None and table.champion.is_alive and not self.is_draining and not self.sink.refuses

    def drain(self) -> None:
        """Say that nothing new should be sent here; what comes is still answered."""
        self.is_draining = True

    async def close(self) -> None:
        """Wait for what runs in the background."""
        while self._shadows:
            await asyncio.gather(*self._shadows, return_exceptions=True)
        self.aside.close()

    def serving(self, version: str) -> ServedModel | None:
        """The champion or canary with this version."""
        table = self.table
        known = () if table is None else (table.champion, table.canary)
        return next((model for model in known if model is not None and model.version == version), None)

    async def answer(self, asked: Asked) -> Answered:
        """The answer, logged.

        Raises Overloaded, NotReady, NotServing, BadInput, Unanswered and, where the project refuses to answer without a log,
        LogUnavailable.
        """
        self.admission.enter()
        try:
            return await self._answer(self._assigned(asked, self._micros()))
        finally:
            self.admission.leave()

    def _assigned(self, asked: Asked, micros: int) -> _Request:
        table = self.table
        if table is None:
            raise NotReady("no version is loaded yet.")
        name = self._ids.next(micros // 1000)
        assigned = assign(
            table,
            asked.unit,
            asked.wish if asked.version is None else self._wish(asked.version),
            each=name if self.settings.without_unit == "request" else None,
            pressed=self.admission.is_pressed,
            shadow=self.settings.shadow,
        )
        if assigned.withheld == "overloaded":
            self.shed += 1
        return _Request(name, micros, table, asked, assigned)

    def _wish(self, version: str) -> Variant:
        """The variant of a version that the client insists on."""
        model = self.serving(version)
        if model is None or self.table is None:
            raise NotServing(f"version {version} of {self.model} is not serving here.")
        return "champion" if model is self.table.champion else "canary"

    async def _answer(self, request: _Request) -> Answered:
        table, assigned = request.table, request.assigned
        canary = table.canary if assigned.asked else None
        first = await self._ask(canary or table.champion, request, assigned.variant)
        last = first
        if canary is not None and first.error is not None:
            last = await self._ask(table.champion, request, "champion")
        if isinstance(last.error, BadInput):
            raise last.error  # the request's own mistake, whatever the canary made of it: no evidence, no record
        if first.error is not None:
            self._failed(request, first, answered=last.outputs is not None)
        if last.outputs is None:
            await self._log_failure(request, first, last)
            raise Unanswered(last.error or _NO_REASON, assigned.variant, last.version)
        await self._log(request, first, last)
        if assigned.shadow and table.canary is not None:
            self._begin_shadow(table.canary, request)
        return Answered(last.content, request.id, assigned.variant, last.version)

    async def _traced(self, model: ServedModel, request: _Request, variant: Variant) -> _Call:
        """`_call` in a span."""
        if self.tracing is None:
            return await self._call(model, request, variant)
        with self.tracing.call(model.version, variant) as span:
            call = await self._call(model, request, variant)
            if call.fault is not None:
                self.tracing.failed(span, call.fault)
            return call

    async def _call(self, model: ServedModel, request: _Request, _: Variant) -> _Call:
        """Ask one version; whatever it does, there is a `_Call`."""
        asked, version, outputs, content, ended = request.asked, model.version, None, None, None
        error: ModelFault | BadInput | None = None
        begun = time.perf_counter()
        try:
            outputs = await model.infer(asked.payload, self._timeout)
            ended = time.perf_counter()
            self._check(model, request, outputs)
            content = await self.aside(is_large(outputs), asked.write, outputs, version)
        except (ModelFault, BadInput) as found:
            error = found
        except Exception as found:  # noqa: BLE001 - a model is anybody's code
            error = ModelFault("raised", f"version {version} raised {type(found).__name__}: {found}")
        seconds = (ended or time.perf_counter()) - begun
        self.metrics.called(version, seconds)
        return _Call(version, seconds * 1000, outputs if error is None else None, content, error)

    def _check(self, model: ServedModel, request: _Request, outputs: Payload) -> None:
        """Raises ModelFault (`nonsense`) where the outputs cannot be an answer."""
        is_champion = model is request.table.champion
        why = nonsense(outputs, request.asked.payload.rows, model.spec, None if is_champion else self._layout)
        if why is not None:
            raise ModelFault("nonsense", f"version {model.version} gave no usable answer: {why}.")
        if is_champion and self._layout is None:
            self._layout = layout_of(outputs)

    def _failed(self, request: _Request, call: _Call, *, answered: bool) -> None:
        """Count a fault; it is the canary's own only where the champion answered the same request."""
        variant, fault = request.assigned.variant, call.fault or "raised"
        self.metrics.fault(variant, call.version, fault)
        log.warning(
            "fault", extra={"version": call.version, "variant": variant, "fault": fault, "prediction_id": request.id}
        )
        if not request.assigned.asked or request.assigned.override or not answered:
            return
        if self.breaker.release != request.table.routing.release:  # asked under a release that is over
            return
        if self.breaker.fault(request.assigned.unit, fault, time.monotonic()):
            self._trip(request.table, call.version)

    def _trip(self, table: RoutingTable, version: str) -> None:
        if self.table is not None:
            self.table = dataclasses.replace(self.table, canary=None)
        trip = Trip(table.routing.release, version, table.routing.epoch, self.breaker.reason or "")
        log.error("breaker open", extra={"version": version, "release": trip.release, "reason": trip.reason})
        if self.on_trip is not None:
            self.on_trip(trip)

    def _record(self, request: _Request, first: _Call, last: _Call) -> Record:
        """`first` is the call of the assigned version, `last` the one that answered; the same where nothing failed."""
        table, assigned = request.table, request.assigned
        routing, canary = table.routing, assigned.variant == "canary"
        return Record(
            prediction_id=request.id,
            time=request.micros,
            model=self.model,
            version=(routing.canary or first.version) if canary else table.champion.version,
            variant=assigned.variant,
            served_by=last.version,
            unit=assigned.unit if self._key is None else kept_unit(assigned.unit, self._key),
            latency_ms=first.ms,
            fault=first.fault or assigned.withheld,
            outputs=self._outputs(last.outputs, request.asked.payload.rows),
            override=assigned.override,
            inputs=kept_inputs(request.asked.payload, self.settings.log.inputs),
            release=routing.release,
            epoch=routing.epoch,
            share=routing.share if routing.canary else 0.0,
        )

    def _outputs(self, outputs: Payload | None, rows: int) -> list[Any]:
        """One entry a row for the log: of one output its value, of several an object."""
        if outputs is None or not self.settings.log.outputs:
            return [None] * rows
        if len(outputs.arrays) == 1:
            values: list[Any] = outputs.arrays[0].tolist()
            return values
        return kept_inputs(outputs, "all") or []

    async def _log(self, request: _Request, first: _Call, last: _Call) -> None:
        """Return when the record is kept. LogUnavailable where it cannot be and the project refuses then."""
        inputs = request.asked.payload
        record, data = await self.aside(is_large(inputs), self._kept, request, first, last)
        if await self.sink.append(data) and self.observe is not None:
            self.observe(record, inputs)

    def _kept(self, request: _Request, first: _Call, last: _Call) -> tuple[Record, bytes]:
        record = self._record(request, first, last)
        return record, encode(record)

    async def _log_failure(self, request: _Request, first: _Call, last: _Call) -> None:
        """A request that got no answer is kept too, as far as the log is there: both variants' faults are compared."""
        if last is not first:
            self.metrics.fault("champion", last.version, last.fault or "raised")
        with contextlib.suppress(LogUnavailable):
            await self._log(request, first, last)

    def _begin_shadow(self, canary: ServedModel, request: _Request) -> None:
        """Ask the canary what was answered already, where there is room for it."""
        if len(self._shadows) >= self._most_shadows:
            self.shadows_left_out += 1
            return
        task = asyncio.get_running_loop().create_task(self._shadow(canary, request))
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    async def _shadow(self, canary: ServedModel, request: _Request) -> None:
        """Logged under the request's id with `.shadow` behind it, as the canary's and never as evidence."""
        call = await self._ask(canary, request, "canary")
        if call.fault is not None:
            self.metrics.fault("shadow", call.version, call.fault)
        assigned = request.assigned._replace(variant="canary")
        shadow = request._replace(id=f"{request.id}.shadow", assigned=assigned)
        with contextlib.suppress(LogUnavailable):
            await self._log(shadow, call, call)

    def _watch(self) -> None:
        watch = self.metrics.watch
        watch(
            "gauge", "requests_under_way", "Requests admitted and not answered yet.", lambda: self.admission.under_way
        )
        watch("gauge", "queue_limit", "How many may be under way.", lambda: self.admission.limit)
        watch("counter", "refused", "Requests refused for want of room.", lambda: self.admission.refused)
        watch("counter", "shed", "Requests of the canary answered by the champion for want of room.", lambda: self.shed)
        watch("counter", "shadows_left_out", "Shadow calls left out for want of room.", lambda: self.shadows_left_out)
        watch("gauge", "breaker_open", "1 where this replica asks the canary no more.", lambda: self.breaker.is_open)
        watch("gauge", "ready", "1 where new requests may be sent here.", lambda: self.is_ready)
        watch("gauge", "routing_epoch", "The ledger event that is routed by, −1 for none.", self._epoch)
        watch("gauge", "canary_share", "The share of units that the canary is asked for now.", self._share)

    def _epoch(self) -> float:
        return -1 if self.table is None else self.table.routing.epoch

    def _share(self) -> float:
        return 0.0 if self.table is None or self.table.canary is None else self.table.routing.share
