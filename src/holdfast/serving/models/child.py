"""Runs in the user's environment, with nothing of Holdfast's but `worker.py`: loads one model and answers calls of it.

    python child.py WORKER_PY SOCKET_FD

A frame, both ways: the lengths of its two parts (`<IQ`), a JSON head, and the raw numbers that the head describes, each
array beginning at a multiple of 16 bytes. Requests: {"id", "do": "load", …} as `worker.Session.load` takes it, once, then
{"id", "do": "infer", "deadline", "kind", "names", "arrays"}, and "params" where a client gave some. Replies have the same
ids in the same order: {"ok", "classes"}; {"kind", "names", "arrays"}; {"expired"} for a call that nobody waits for any more;
or {"error": {"kind", "message"}} with kind `user` (nothing to load), `bad_input`, `raised` or `nonsense`. The socket is
private, so what user code prints cannot mix with it. When the other end is closed the whole process group ends. Works on
Python 3.9 and newer.

A model receives a frame as a pandas DataFrame (without pandas as a list of dicts), a tensor as a numpy array, tensors as
a dict of them.
"""

# Paths are text here, as the command line brings them.
# ruff: noqa: E402, PTH120

from __future__ import annotations

import os
import sys

_HERE = os.path.dirname(os.path.realpath(__file__))
if __name__ == "__main__" and sys.path and os.path.realpath(sys.path[0]) == _HERE:
    del sys.path[0]  # the user's `import process` must not find ours

import base64
import contextlib
import datetime as dt
import gc
import importlib.util
import inspect
import json
import select
import signal
import socket
import struct
import threading
import time
import traceback
from typing import Any, Literal

Kind = Literal["frame", "tensor", "tensors"]
LENGTHS = struct.Struct("<IQ")
ALIGNED = 16
TOGETHER = 0.0003  # seconds that an answer may wait for the next one
OUT_OF_MEMORY = 70  # exit status: after a MemoryError nothing in the process can be relied on


class NotAnAnswer(Exception):
    """What the model gave is nothing that has rows."""


# --- frames ---------------------------------------------------------------------------------------------------------


def pack(head: dict[str, Any], arrays: Any = None, encode: Any = json.dumps) -> bytes:
    """A frame with `head` and the arrays; TypeError for a value that JSON cannot hold."""
    numbers: list[bytes] = []
    if arrays is not None:
        head = {**head, "arrays": [describe(array, numbers) for array in arrays]}
    text = encode(head).encode()
    return b"".join([LENGTHS.pack(len(text), sum(map(len, numbers))), text, *numbers])


def describe(array: Any, numbers: list[bytes]) -> list[Any]:
    """["raw", dtype, shape] of numbers, which are appended, else ["json" | "tagged", shape, flat values]."""
    dtype = getattr(array, "dtype", None)
    if dtype is None:
        return values_of([len(array)], list(array))
    if dtype.kind not in "biufcmM":
        return values_of(list(array.shape), array.ravel().tolist())
    if dtype.byteorder == ">":
        dtype = dtype.newbyteorder("<")
        array = array.astype(dtype)
    data = array.tobytes()
    numbers.append(data + bytes(-len(data) % ALIGNED))
    return ["raw", dtype.str, list(array.shape)]


def values_of(shape: list[int], values: list[Any]) -> list[Any]:
    if any(isinstance(value, (bytes, dt.date)) for value in values):
        return ["tagged", shape, [tagged(value) for value in values]]
    return ["json", shape, values]


def tagged(value: Any) -> list[Any]:
    if isinstance(value, bytes):
        return ["bytes", base64.b64encode(value).decode()]
    if type(value).__name__ == "NaTType":
        return ["", None]
    if isinstance(value, dt.datetime):
        return ["time", value.isoformat()]
    return ["date", value.isoformat()] if isinstance(value, dt.date) else ["", value]


_UNTAG = {
    "": lambda value: value,
    "bytes": base64.b64decode,
    "time": dt.datetime.fromisoformat,
    "date": dt.date.fromisoformat,
}  # type: dict[str, Any]


def unpack(head: dict[str, Any], body: bytearray) -> list[Any]:
    """The arrays of a frame, writable, over the memory of `body`; without numpy lists."""
    arrays, offset = [], 0
    for entry in head["arrays"]:
        if entry[0] == "raw":
            arrays.append(read_numbers(body, offset, entry[1], entry[2]))
            offset += raw_size(entry[1], entry[2])
        else:
            values = entry[2] if entry[0] == "json" else [_UNTAG[tag](value) for tag, value in entry[2]]
            arrays.append(objects(values, entry[1]))
    return arrays


def raw_size(dtype: str, shape: list[int]) -> int:
    """The bytes that an array takes in a frame."""
    size = int(dtype[2:].partition("[")[0])
    for length in shape:
        size *= length
    return size + -size % ALIGNED


def read_numbers(body: bytearray, offset: int, dtype: str, shape: list[int]) -> Any:
    count = 1
    for length in shape:
        count *= length
    np = numpy()
    if np is not None:
        return np.frombuffer(body, dtype, count, offset).reshape(shape) if count else np.empty(shape, dtype)
    kind = {"<f8": "d", "<f4": "f", "<i8": "q", "<i4": "i", "|b1": "?"}[dtype]
    return memoryview(body)[offset : offset + count * struct.calcsize(kind)].cast(kind, shape).tolist()  # type: ignore[call-overload]


def objects(values: list[Any], shape: list[int]) -> Any:
    """Flat values as an array of objects, whatever they are; without numpy the list."""
    np = numpy()
    if np is None:
        return values
    array = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):  # assigning the whole list would make lists of one length a second axis
        array[place] = value
    return array.reshape(shape)


def numpy() -> Any:
    try:
        import numpy as np
    except ModuleNotFoundError:
        return None
    return np


# --- what a model is given and what it gives ------------------------------------------------------------------------


def given(kind: str, names: Any, arrays: Any) -> Any:
    """A request's arrays as a model takes them."""
    if kind == "tensor":
        return arrays[0]
    columns = dict(zip(names, arrays))  # noqa: B905 - `strict` is not there on Python 3.9
    if kind == "tensors":
        return columns
    try:
        import pandas as pd
    except ModuleNotFoundError:
        return [dict(zip(names, row)) for row in zip(*(listed(array) for array in arrays))]  # noqa: B905
    flat = {n: array if getattr(array, "ndim", 1) == 1 else list(array) for n, array in columns.items()}
    return pd.DataFrame(flat)


def called(call: Any, inputs: Any, params: Any) -> Any:
    """What a model gives. Params go to one that takes them, and MLflow holds them against its signature; else they are ignored,
    as MLflow's own server does it.
    """
    return call(inputs, params=params) if params and takes_params(call) else call(inputs)


def takes_params(call: Any) -> bool:
    try:
        return "params" in inspect.signature(call).parameters
    except (TypeError, ValueError):  # not written in Python
        return False


def listed(array: Any) -> Any:
    return array.tolist() if hasattr(array, "tolist") else array


def answered(values: Any, worker: Any) -> tuple[Kind, list[str], list[Any]]:
    """What a model gave, as (kind, names, arrays): of a DataFrame its columns, of a dict its values, else one tensor."""
    if hasattr(values, "columns") and hasattr(values, "iloc"):
        columns = [values.iloc[:, place] for place in range(len(values.columns))]
        return "frame", [str(name) for name in values.columns], [array_of(column, worker) for column in columns]
    if isinstance(values, dict):
        return "tensors", [str(name) for name in values], [array_of(value, worker) for value in values.values()]
    return "tensor", [""], [array_of(values, worker)]


def array_of(values: Any, worker: Any) -> Any:
    array = worker.plain(values)
    if isinstance(array, list):
        return objects(array, [len(array)])
    dtype = getattr(array, "dtype", None)
    if dtype is None or not hasattr(array, "shape"):
        raise NotAnAnswer("gave a " + type(values).__name__ + ", expected one output for each row")
    if dtype.kind in "biufcmMO":
        return array
    return objects(array.ravel().tolist(), list(array.shape))


def failure(error: BaseException, worker: Any) -> dict[str, str]:
    """What a model raised as {"kind", "message"}: MLflow's complaint about the input is the client's mistake."""
    message = " ".join(str(error).split())
    if isinstance(error, NotAnAnswer):
        return {"kind": "nonsense", "message": message}
    if isinstance(error, worker.BadRequest):
        return {"kind": "user", "message": message}
    code = getattr(error, "error_code", "") if type(error).__name__ == "MlflowException" else ""
    if code == "INVALID_PARAMETER_VALUE" or (code and "Failed to enforce schema" in message):
        return {"kind": "bad_input", "message": message.rpartition("Error: ")[2][:600]}
    where = worker.place(traceback.extract_tb(error.__traceback__))
    said = type(error).__name__ + (": " + message[:600].rstrip(".") if message else "")
    return {"kind": "raised", "message": said + (" (" + where + ")" if where else "")}


# --- the process ----------------------------------------------------------------------------------------------------


class Service:
    """One loaded model that answers frames."""

    def __init__(self, worker: Any) -> None:
        self.worker = worker
        self.session = worker.Session()
        self.encode = json.JSONEncoder(default=worker.not_json).encode
        self.is_broken = False

    def reply(self, head: dict[str, Any], body: bytearray) -> bytes:
        """The frame that answers one request."""
        if head["do"] == "load":
            loaded = self.worker.answer(self.session, head)
            gc.collect()
            gc.freeze()  # what loading made stays: no collection during a call walks through it again
            return pack({"id": head["id"], **loaded, "classes": self.session.classes}, None, self.encode)
        if time.monotonic() > head["deadline"]:
            return pack({"id": head["id"], "expired": True})
        try:
            values = called(
                self.session.call, given(head["kind"], head["names"], unpack(head, body)), head.get("params")
            )
            kind, names, arrays = answered(values, self.worker)
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is its answer
            self.is_broken = isinstance(error, MemoryError)
            return pack({"id": head["id"], "error": failure(error, self.worker)})
        try:
            return pack({"id": head["id"], "kind": kind, "names": names}, arrays, self.encode)
        except (self.worker.BadRequest, TypeError, ValueError, RecursionError) as error:
            message = " ".join(str(error).split())[:300]
            return pack({"id": head["id"], "error": {"kind": "nonsense", "message": message}})


class Frames:
    """Frames read from the socket. `has_more` says that some of the next one is here already."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.buffer = bytearray()

    @property
    def has_more(self) -> bool:
        return len(self.buffer) > 0

    def next(self) -> Any:
        """(head, body); None when the other end is closed."""
        if not self._read(LENGTHS.size):
            return None
        head, body = LENGTHS.unpack_from(self.buffer)
        end = LENGTHS.size + head + body
        if not self._read(end):
            return None
        frame = json.loads(self.buffer[LENGTHS.size : end - body].decode()), self.buffer[end - body : end]
        del self.buffer[:end]
        return frame

    def _read(self, size: int) -> bool:
        while len(self.buffer) < size:
            data = self.connection.recv(1 << 18)
            if not data:
                return False
            self.buffer += data
        return True


def serve(connection: socket.socket, service: Service) -> None:
    """Answer until the other end is closed. Answers that come quickly one after the other are sent together."""
    frames = Frames(connection)
    answers: list[bytes] = []
    sent = time.monotonic()
    while (frame := frames.next()) is not None:
        answers.append(service.reply(*frame))
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        if service.is_broken or not frames.has_more or time.monotonic() - sent > TOGETHER:
            connection.sendall(b"".join(answers))
            answers.clear()
            sent = time.monotonic()
        if service.is_broken:
            os._exit(OUT_OF_MEMORY)


def end_with_parent(connection: socket.socket) -> None:
    """Wait until the other end is gone, then end this process and all it started, in the middle of a call too."""
    watched = select.poll()
    watched.register(connection, select.POLLHUP)
    while not any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in watched.poll()):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def load_worker(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("holdfast_worker", path)  # type: Any
    module = importlib.util.module_from_spec(spec)  # type: Any
    spec.loader.exec_module(module)
    return module


def main(worker_path: str, fd: int) -> None:
    os.set_inheritable(fd, False)
    connection = socket.socket(fileno=fd)
    threading.Thread(target=end_with_parent, args=(connection,), daemon=True).start()
    serve(connection, Service(load_worker(worker_path)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
