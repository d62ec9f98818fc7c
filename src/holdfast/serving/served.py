"""What the gateway needs of a version that runs somewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from holdfast.serving.payload import Payload

Fault = Literal["raised", "timed_out", "died", "nonsense", "overloaded", "unreachable"]


class ModelFault(Exception):
    """A version did not give a usable answer. `fault` is what the log says, the message what a person reads."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault: Fault = fault


class BadInput(Exception):
    """The request itself is wrong, so no version could answer it: the client's mistake (HTTP 400), never evidence."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A named input or output as the V2 protocol tells it: `datatype` such as FP32 or BYTES, −1 for a free axis."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What is known of a version's inputs and outputs; empty where the model has no signature."""

    platform: str = "holdfast"
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    details: dict[str, Any] | None = None


class ServedModel(Protocol):
    """A version that is loaded. Every method may be called from the event loop; none of them blocks it."""

    version: str
    spec: ModelSpec

    @property
    def waiting(self) -> int:
        """Requests given to it that have no answer yet."""
        ...

    @property
    def is_alive(self) -> bool:
        """Whether it may be asked: loaded, its process or server there. A dead one may come back by itself."""
        ...

    async def infer(self, inputs: Payload, timeout: float) -> Payload:
        """The answer within `timeout` seconds. Raises ModelFault, or BadInput where the model's schema refuses the input.

        A cancelled or timed-out call never harms the calls after it.
        """
        ...

    async def close(self) -> None:
        """Let go of process, threads and connections, after the calls that it has accepted."""
        ...
