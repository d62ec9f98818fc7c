"""The Open Inference Protocol (V2 REST): requests read and answers written, as JSON or with its binary tensor extension.

NaN and the infinities are read and written in JSON as the words NaN, Infinity and -Infinity, as Triton does (see `_json`); a
null among numbers is NaN. A `content_type`, the request's or before it a tensor's own, is `pd` (every tensor a column of a
frame, BYTES are text), `np` (a tensor, or tensors), `str` (BYTES are text) or a tensor's `base64` (text is BYTES). Without it
a single tensor stays a tensor, and several are a frame where each is (n,) or (n, 1). MLServer's own `pd_json` is known, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from holdfast.serving.payload import Payload
from holdfast.serving.protocol import tensors
from holdfast.serving.protocol._json import dumps, loads, shown
from holdfast.serving.protocol.arrays import Array, distinct, objects, rows_agree
from holdfast.serving.protocol.compression import decoded
from holdfast.serving.protocol.written import Written, write
from holdfast.serving.served import BadInput, ModelSpec

LIMIT = 16 * 2**20  # bytes of a body without its compression
NAMELESS = "output-0"  # an output that the model does not name

JSON_LENGTH = "inference-header-content-length"
_JSON = [(b"content-type", b"application/json")]

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output that the client names, and whether it wants it as bytes."""

    name: str
    binary: bool


@dataclass(slots=True)
class V2Request:
    """An inference request. `unit` is `parameters.unit` as it came; `parameters` are all of them.

    `outputs` is None where the client names none: it gets all, as bytes where `binary_outputs`.
    """

    payload: Payload
    id: str | None = None
    unit: str | None = None
    outputs: tuple[RequestedOutput, ...] | None = None
    binary_outputs: bool = False
    parameters: Mapping[str, Any] | None = None


def parse(body: bytes, headers: Mapping[str, str], limit: int = LIMIT) -> V2Request:
    """A request from its body and its headers (lower-case name → value). Raises BadInput, whatever they are."""
    if "content-encoding" in headers:
        body = decoded(body, headers, limit)
    document, tail = _opened(body, headers.get(JSON_LENGTH))
    parameters = tensors.parameters_of(document, "the request")
    binary = _flag(parameters, "binary_data_output", otherwise=False)
    return V2Request(
        payload=_payload(document.get("inputs"), tail, parameters.get("content_type")),
        id=_text(document.get("id"), "id"),
        unit=_text(parameters.get("unit"), "parameters.unit"),
        outputs=_requested(document.get("outputs"), binary),
        binary_outputs=binary,
        parameters=parameters,
    )


def answer(request: V2Request, outputs: Payload, model: str, version: str) -> tuple[Headers, bytes]:
    """Headers and body of the answer, every output the way the client asked for it.

    Raises BadInput where it asked for what there is not, ModelFault (`nonsense`) where the protocol has no form for an output.
    """
    document: dict[str, Any] = {"model_name": model, "model_version": version}
    if request.id is not None:
        document["id"] = request.id
    if outputs.kind == "frame":
        document["parameters"] = {"content_type": "pd"}
    return _body(document, "outputs", [write(n, a, binary=b) for n, a, b in _chosen(request, outputs)])


def ask(payload: Payload, *, binary: bool = True) -> tuple[Headers, bytes]:
    """Headers and body that ask an upstream server. Raises BadInput where the protocol cannot express the payload.

    Without `binary` a NaN is null, for the servers that know JSON only (MLServer) refuse the words and read null as NaN.
    """
    document: dict[str, Any] = {"parameters": {"binary_data_output": binary}}
    if payload.kind == "frame":
        document["parameters"]["content_type"] = "pd"
    names = [name or "input-0" for name in payload.names]
    written = [write(n, a, binary=binary, strict=True) for n, a in zip(names, payload.arrays, strict=True)]
    return _body(document, "inputs", written)


def parse_answer(body: bytes, headers: Mapping[str, str], version: str | None = None) -> Payload:
    """What an upstream server answered. Raises BadInput for what is no answer of this protocol, or of another `version`."""
    document, tail = _opened(body, headers.get(JSON_LENGTH))
    answered = document.get("model_version")
    if version is not None and answered not in (None, "", version):
        raise BadInput(f"version {shown(answered)} answered.")
    parameters = tensors.parameters_of(document, "the answer")
    content_type = "pd" if parameters.get("content_type") == "pd" else None
    return _payload(document.get("outputs"), tail, content_type, is_answer=True)


def server_metadata(version: str) -> bytes:
    """What `GET /v2` answers."""
    return orjson.dumps({"name": "holdfast", "version": version, "extensions": ["binary_tensor_data"]})


def model_metadata(name: str, versions: Sequence[str], spec: ModelSpec) -> bytes:
    """What `GET /v2/models/NAME` answers."""
    document: dict[str, Any] = {"name": name, "versions": list(versions), "platform": spec.platform}
    for side, specs in (("inputs", spec.inputs), ("outputs", spec.outputs)):
        document[side] = [{"name": s.name, "datatype": s.datatype, "shape": s.shape} for s in specs]
    if spec.details:
        document["parameters"] = spec.details
    return dumps(document)


def live(is_live: bool) -> bytes:
    """What `GET /v2/health/live` answers."""
    return orjson.dumps({"live": is_live})


def ready(is_ready: bool, name: str | None = None) -> bytes:
    """What `GET /v2/health/ready` answers, or with a name `GET /v2/models/NAME/ready`."""
    return orjson.dumps({"ready": is_ready} if name is None else {"name": name, "ready": is_ready})


def error(message: str) -> bytes:
    """The body of every answer that is none."""
    return orjson.dumps({"error": message.encode("utf-8", "backslashreplace").decode()})


def _opened(body: bytes, json_length: str | None) -> tuple[dict[str, Any], tensors.Tail | None]:
    if json_length is None:
        document, tail = loads(body), None
    else:
        if not (json_length.isascii() and json_length.isdigit() and len(json_length) < 16):
            raise BadInput(f"Inference-Header-Content-Length is a number of bytes, not {shown(json_length)}.")
        end = int(json_length)
        if end > len(body):
            raise BadInput(f"Inference-Header-Content-Length is {end}, but the body has {len(body)} bytes.")
        document, tail = loads(body[:end]), tensors.Tail(body, end)
    if type(document) is not dict:
        raise BadInput("Expected a JSON object with inputs; see the Open Inference Protocol.")
    return document, tail


def _payload(listed: Any, tail: tensors.Tail | None, content_type: Any, *, is_answer: bool = False) -> Payload:
    if type(listed) is not list or not listed:
        raise BadInput("Expected a list with at least one tensor.")
    if content_type not in {None, "np", "pd", "str"}:
        raise BadInput(f"The content_type {shown(content_type)} is not known; known are np, pd and str.")
    read = [tensors.read(tensor, tail, content_type, is_answer=is_answer) for tensor in listed]
    if tail is not None and tail.at != len(tail.body):
        raise BadInput(f"The body goes on for {len(tail.body) - tail.at} bytes after the binary data of its tensors.")
    names, arrays = tuple([name for name, _ in read]), tuple([array for _, array in read])
    distinct(names)
    rows_agree(names, arrays)
    if content_type == "pd" or (content_type != "np" and len(read) > 1 and all(map(_is_thin, arrays))):
        return Payload("frame", names, tuple([_as_column(array) for array in arrays]))
    return Payload("tensor" if len(read) == 1 else "tensors", names, arrays)


def _is_thin(array: Array) -> bool:
    return array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)


def _as_column(array: Array) -> Array:
    """One value a row; of a row with several a list."""
    return array.reshape(-1) if _is_thin(array) else objects(array.tolist())


def _requested(listed: Any, binary: bool) -> tuple[RequestedOutput, ...] | None:
    if listed is None or listed == []:
        return None
    if type(listed) is not list:
        raise BadInput("outputs is a list.")
    requested = tuple([_requested_one(output, binary) for output in listed])
    distinct([output.name for output in requested])
    return requested


def _requested_one(output: Any, binary: bool) -> RequestedOutput:
    name = output.get("name") if type(output) is dict else None
    if type(name) is not str or not name:
        raise BadInput("Every one of outputs is an object with the name of an output.")
    parameters = tensors.parameters_of(output, "output", name)
    if "classification" in parameters:
        raise BadInput(f"Output {shown(name)}: classification is not offered here; ask for the output itself.")
    return RequestedOutput(name, _flag(parameters, "binary_data", otherwise=binary))


def _flag(parameters: Mapping[str, Any], name: str, *, otherwise: bool) -> bool:
    value = parameters.get(name, otherwise)
    if type(value) is not bool:
        raise BadInput(f"The parameter {name} is true or false, not {shown(value)}.")
    return value


def _text(value: Any, what: str) -> str | None:
    if value is not None and type(value) is not str:
        raise BadInput(f"{what} is text, not {shown(value)}.")
    return value


def _chosen(request: V2Request, outputs: Payload) -> list[tuple[str, Array, bool]]:
    if request.outputs is None:
        named_outputs = zip(outputs.names, outputs.arrays, strict=True)
        return [(name or NAMELESS, array, request.binary_outputs) for name, array in named_outputs]
    if outputs.names == ("",) and len(request.outputs) == 1:  # the model does not name it, so it goes by any name
        return [(request.outputs[0].name, outputs.arrays[0], request.outputs[0].binary)]
    arrays = {name or NAMELESS: array for name, array in zip(outputs.names, outputs.arrays, strict=True)}
    for output in request.outputs:
        if output.name not in arrays:
            raise BadInput(
                f"There is no output {shown(output.name)}; there is {', '.join(map(shown, list(arrays)[:20]))}."
            )
    return [(output.name, arrays[output.name], output.binary) for output in request.outputs]


def _body(document: dict[str, Any], side: str, written: Sequence[Written]) -> tuple[Headers, bytes]:
    document[side] = [tensor.document for tensor in written]
    text, data = dumps(document), [tensor.data for tensor in written if tensor.data is not None]
    if not data:
        return list(_JSON), text
    length = (JSON_LENGTH.encode(), b"%d" % len(text))
    return [(b"content-type", b"application/octet-stream"), length], b"".join([text, *data])
