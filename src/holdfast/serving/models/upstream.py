"""A version that another server answers for: the Open Inference Protocol, or MLflow's `/invocations`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from holdfast.errors import OutsideError, UserError
from holdfast.serving.models.http_client import Answer, BrokenAnswer, HttpClient
from holdfast.serving.models.process import FIRST_PAUSE, LONGEST_PAUSE
from holdfast.serving.payload import Payload, tensor
from holdfast.serving.protocol import v2
from holdfast.serving.protocol._json import dumps_any, loads
from holdfast.serving.protocol.arrays import column, named, nested_array
from holdfast.serving.served import BadInput, ModelFault, ModelSpec, TensorSpec

Protocol = Literal["v2", "invocations"]
_VERSION = re.compile(r"[A-Za-z0-9_-]+")
_HOST = re.compile(r"[A-Za-z0-9.-]+|[0-9a-fA-F:]+")
_PATH = re.compile(r"[A-Za-z0-9/_.~!$&'()*+,;=:@%-]*")
_FORM = "Write `serving: {upstream: http://HOST:PORT/v2/models/NAME/versions/{version}}`."
_PROBE_SECONDS = 5.0
# 400 for what is no fault of the request: MLflow where the model raises, MLServer while it loads
_RAISED, _LOADING = "unexpected error while evaluating the model", "is not ready yet"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a version is asked; `path` without a slash at its end."""

    host: str
    port: int
    is_tls: bool
    path: str

    @property
    def shown(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.is_tls else 'http'}://{host}:{self.port}{self.path}"


def place_of(url: str, version: str) -> Place:
    """The parts of `url` with `{version}` filled in; UserError where it is no plain http(s) URL."""
    if not _VERSION.fullmatch(version):
        raise UserError(f"{version!r} cannot be part of an upstream URL.", hint="Versions are numbers.")
    try:
        parts = urlsplit(url.replace("{version}", version))
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise UserError(f"the upstream {url!r} is no URL: {error}.", hint=_FORM) from None
    host, path = parts.hostname or "", parts.path.rstrip("/")
    plain = parts.scheme in ("http", "https") and _HOST.fullmatch(host) and _PATH.fullmatch(path)
    if not plain or "@" in parts.netloc or parts.query or parts.fragment or ".." in path.split("/"):
        raise UserError(
            f"the upstream {url!r} cannot be used: expected http or https, a host and a path, and nothing else.",
            hint=_FORM,
        )
    return Place(host, port, parts.scheme == "https", path)


class UpstreamModel:
    """A `ServedModel` at another server. Make it with `await UpstreamModel.start(…)`.

    Once the server cannot be reached it is not alive, and it is looked for again after 0.1 s at first, 30 s at most.
    """

    def __init__(self, version: str, place: Place, protocol: Protocol, model: str) -> None:
        self.version = version
        self.spec = ModelSpec(platform="upstream")
        self._place, self._protocol = place, protocol
        self._http = HttpClient(place.host, place.port, is_tls=place.is_tls)
        self._base = place.path
        if protocol == "v2" and "/v2/models/" not in place.path:
            self._base += f"/v2/models/{model}"
        if protocol == "invocations":
            self._base = self._base.removesuffix("/invocations")
        self._is_binary = False
        self._asks_for = version if self._base.endswith(f"/versions/{version}") else None
        self._asked = 0
        self._why = "it has not answered yet"
        self._is_closing = False
        self._search: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls, version: str, url: str, protocol: Protocol, model: str, *, load_timeout: float = 300.0
    ) -> Self:
        """The version once its server says that it is ready. UserError for the URL, OutsideError after `load_timeout`."""
        upstream = cls(version, place_of(url, version), protocol, model)
        try:
            async with asyncio.timeout(load_timeout):
                await upstream._found()
        except TimeoutError:
            await upstream.close()
            raise OutsideError(
                f"version {version} was not ready at {upstream._place.shown} within {load_timeout:g} s: {upstream._why}.",
                hint="Start its server, or correct `serving: {upstream: …}`.",
                reason_code="upstream_unreachable",
            ) from None
        except BaseException:
            await upstream.close()
            raise
        return upstream

    @property
    def where(self) -> str:
        """The URL that is asked."""
        return self._place.shown

    @property
    def waiting(self) -> int:
        return self._asked

    @property
    def is_alive(self) -> bool:
        return not self._is_closing and self._search is None

    async def infer(self, payload: Payload, timeout: float) -> Payload:
        if not self.is_alive:
            raise ModelFault("unreachable", f"{self._place.shown} cannot be reached; it is looked for again")
        path, headers, body = self._question(payload)
        self._asked += 1
        try:
            answer = await self._http.request("POST", path, timeout, body, headers)
        except TimeoutError:
            raise ModelFault("timed_out", f"{self._place.shown} did not answer within {timeout:g} s") from None
        except OSError as error:
            self._look_for_it()
            raise ModelFault("unreachable", f"{self._place.shown} cannot be reached: {_reason(error)}") from None
        except BrokenAnswer as error:
            raise ModelFault("nonsense", f"{self._place.shown}: {error}") from None
        finally:
            self._asked -= 1
        return self._outputs(answer)

    async def close(self) -> None:
        self._is_closing = True
        while self._asked:
            await asyncio.sleep(0.01)
        if self._search is not None:
            self._search.cancel()
        self._http.close()

    # --- the two protocols ---

    def _question(self, payload: Payload) -> tuple[str, dict[str, str], bytes]:
        if self._protocol == "v2":
            headers, body = v2.ask(payload, binary=self._is_binary)
            return f"{self._base}/infer", {name.decode(): value.decode() for name, value in headers}, body
        return f"{self._base}/invocations", {"content-type": "application/json"}, invocation(payload)

    def _outputs(self, answer: Answer) -> Payload:
        if answer.status == 200:
            try:
                if self._protocol == "v2":
                    return v2.parse_answer(bytes(answer.body), answer.headers, self._asks_for)
                return predictions(loads(bytes(answer.body), exact=True))
            except BadInput as error:
                raise ModelFault("nonsense", f"{self._place.shown} gave no answer of its protocol: {error}") from None
        said = f"{self._place.shown} answered {answer.status}: {_said(answer)}"
        if _is_clients(answer):
            raise BadInput(_said(answer))
        raise ModelFault("overloaded" if answer.status in (429, 503) or _LOADING in said else "raised", said)

    # --- finding it ---

    def _look_for_it(self) -> None:
        if self._search is None and not self._is_closing:
            self._search = asyncio.create_task(self._found())

    async def _found(self) -> None:
        """Return once it is ready."""
        pause = FIRST_PAUSE
        while True:
            try:
                if await self._is_ready():
                    self._search = None
                    return
            except (TimeoutError, OSError, BrokenAnswer) as error:
                self._why = _reason(error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _is_ready(self) -> bool:
        """Ask for its readiness and, of a V2 server, what it knows and whether it takes binary tensors."""
        if self._protocol == "invocations":
            return await self._says_yes(f"{self._base}/ping")
        if not await self._says_yes(f"{self._base}/ready"):
            return False
        server = self._base.partition("/v2/models/")[0] + "/v2"
        extensions = _document(await self._http.request("GET", server, _PROBE_SECONDS)).get("extensions")
        self._is_binary = isinstance(extensions, list) and "binary_tensor_data" in extensions
        self.spec = spec_of(_document(await self._http.request("GET", self._base, _PROBE_SECONDS)))
        return True

    async def _says_yes(self, path: str) -> bool:
        answer = await self._http.request("GET", path, _PROBE_SECONDS)
        self._why = f"{path} answered {answer.status}: {_said(answer)}"
        return answer.status == 200


def invocation(payload: Payload) -> bytes:
    """A payload as MLflow's server reads it; numbers that are not finite as the words that its JSON reader knows."""
    lists = [array.tolist() for array in payload.arrays]
    document: dict[str, Any] = {} if payload.params is None else {"params": dict(payload.params)}
    if payload.kind == "frame":
        rows = list(zip(*lists, strict=True))
        document["dataframe_split"] = {"columns": list(payload.names), "data": rows}
    elif payload.kind == "tensor":
        document["inputs"] = lists[0]
    else:
        document["inputs"] = dict(zip(payload.names, lists, strict=True))
    return dumps_any(document)


def predictions(document: Any) -> Payload:
    """What MLflow's server answered: a list, a list of records, or lists by name. BadInput for anything else."""
    found = document.get("predictions") if isinstance(document, dict) else None
    if isinstance(found, dict) and found and all(isinstance(values, list) for values in found.values()):
        return named(list(found), [nested_array(values) for values in found.values()])
    if not isinstance(found, list) or not found:
        raise BadInput("expected an object with a list of predictions")
    if not all(isinstance(row, dict) for row in found):
        return tensor(nested_array(found))
    names = list(found[0])
    if any(list(row) != names for row in found):
        return tensor(nested_array(found))
    return Payload("frame", tuple(names), tuple(column([row[name] for row in found]) for name in names))


def spec_of(document: Mapping[str, Any]) -> ModelSpec:
    """A V2 server's metadata of a model; what is not of the protocol is left out."""
    platform = document.get("platform")
    return ModelSpec(
        platform if isinstance(platform, str) else "upstream",
        _tensors(document.get("inputs")),
        _tensors(document.get("outputs")),
    )


def _tensors(listed: Any) -> tuple[TensorSpec, ...]:
    try:
        return tuple(
            TensorSpec(str(one["name"]), str(one["datatype"]), tuple(int(axis) for axis in one["shape"]))
            for one in listed or ()
        )
    except (TypeError, KeyError, ValueError):
        return ()


def _document(answer: Answer) -> dict[str, Any]:
    try:
        document = loads(bytes(answer.body)) if answer.status == 200 else {}
    except BadInput:
        return {}
    return document if isinstance(document, dict) else {}


def _said(answer: Answer) -> str:
    """The error that a server names, in one short line."""
    try:
        document = loads(bytes(answer.body[: 1 << 16]))
    except BadInput:
        document = None
    given = document if isinstance(document, dict) else {}
    found = [given.get("error"), given.get("message"), _detail(given.get("detail"))]
    text = next((one for one in found if isinstance(one, str)), answer.body[:300].decode(errors="replace"))
    return " ".join(text.split())[:300] or "nothing"


def _detail(detail: Any) -> Any:
    """What FastAPI says of a body that it refuses, without the body: where, and what."""
    try:
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in detail[:3])
    except (TypeError, KeyError):
        return detail


def _is_clients(answer: Answer) -> bool:
    """Whether it is about the input: not about who asks, where, or how often, and not a model that raised or is loading."""
    said = _said(answer)
    return answer.status in (400, 413, 422) and _RAISED not in said and _LOADING not in said


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
