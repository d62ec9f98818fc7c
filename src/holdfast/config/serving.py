"""The `serving:` part of a project file: how the gateway answers and what it keeps."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, model_validator

from holdfast.config.types import ByteSize, Duration, Strict


class ServingLogConfig(Strict):
    """What is kept of every prediction, and how safely."""

    folder: str = ".holdfast/serving"  # local; holds segments until they are compacted into the store
    durable: bool = True  # on disk before the answer leaves: survives the loss of power
    on_failure: Literal["refuse", "answer"] = "refuse"  # where it cannot be written: 503, or answer uncounted and alarm
    inputs: Literal["none", "hash", "all"] | list[str] = "none"
    outputs: bool = True
    unit_key: str | None = None  # the environment variable with the secret that unit ids are hashed with
    segment: ByteSize = 64 * 2**20
    compact_every: Duration = timedelta(seconds=10)
    keep: Duration | None = None  # older days are deleted; None keeps all
    kafka: str | None = None  # kafka://host:9092/topic, beside the segments


class ServingConfig(Strict):
    """The gateway."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    admin_host: str = "127.0.0.1"
    admin_port: int = Field(default=8081, ge=0, le=65535)
    admin_token: str = "HOLDFAST_ADMIN_TOKEN"
    mode: Literal["environment", "in_process", "upstream"] = "environment"
    allow_other_environment: list[str] = []  # versions that may run in an environment other than their own
    upstream: str | None = None  # for `upstream`: a URL with {version} in it
    upstream_protocol: Literal["v2", "invocations"] = "v2"
    processes: int = Field(default=1, ge=1)  # of each version in `environment`
    memory: ByteSize | None = None  # that each of them may hold; one that holds more is started anew
    timeout: Duration = timedelta(seconds=2)  # of one call of a model
    load_timeout: Duration = timedelta(minutes=5)
    queue: int = Field(default=256, ge=1)  # requests under way at once; more are refused
    canary_queue: float = Field(default=0.5, gt=0, le=1)  # of the queue; above it the canary is shed first
    max_body: ByteSize = 16 * 2**20
    max_header_bytes: ByteSize = 64 * 2**10
    body_timeout: Duration = timedelta(seconds=10)  # for a client to send its request
    drain_timeout: Duration = timedelta(seconds=20)  # at shutdown, for what was accepted
    without_unit: Literal["champion", "request"] = "champion"  # a request that names no unit
    shadow: bool = False  # the canary answers in the background only
    breaker_faults: int = Field(default=5, ge=1)  # canary faults of different units within `breaker_window`…
    breaker_window: Duration = timedelta(seconds=30)  # …trip the breaker of this replica
    poll: Duration = timedelta(milliseconds=250)  # how often the ledger's next event is asked for
    log: ServingLogConfig = ServingLogConfig()

    @model_validator(mode="after")
    def _upstream_is_told(self) -> ServingConfig:
        if self.mode == "upstream" and "{version}" not in (self.upstream or ""):
            raise ValueError("mode upstream expects `upstream`, a URL with {version} in it")
        if self.mode != "environment" and (self.processes > 1 or self.memory is not None):
            raise ValueError(
                f"processes and memory are for mode environment, where versions have their own; found {self.mode}"
            )
        return self
