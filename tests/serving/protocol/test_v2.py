from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.http import InferInput, InferRequestedOutput, InferResult
from tritonclient.http._utils import _get_inference_request

from holdfast.serving.payload import Payload, tensor
from holdfast.serving.protocol import v2
from holdfast.serving.served import BadInput, ModelFault, ModelSpec, TensorSpec
from tests.serving.protocol.payloads import are_same, is_same, payloads

LENGTH = "inference-header-content-length"
DATATYPES = ["BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "FP32", "FP64"]


def one(datatype: str, shape: list[Any], data: Any, name: str = "x", **parameters: Any) -> dict[str, Any]:
    tensor_document = {"name": name, "datatype": datatype, "shape": shape, "data": data}
    return tensor_document | ({"parameters": parameters} if parameters else {})


def body_of(*inputs: Any, **others: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **others}).encode()


def parsed(*inputs: Any, **others: Any) -> Payload:
    return v2.parse(body_of(*inputs, **others), {}).payload


def with_bytes(document: Any, data: bytes) -> tuple[bytes, dict[str, str]]:
    text = json.dumps(document).encode()
    return text + data, {LENGTH: str(len(text))}


def binary(datatype: str, shape: list[Any], data: bytes, size: Any = None) -> tuple[bytes, dict[str, str]]:
    size = len(data) if size is None else size
    document = {"name": "x", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}
    return with_bytes({"inputs": [document]}, data)


def samples(datatype: str) -> np.ndarray[Any, Any]:
    """Values at the edges of a type, (2, 3)."""
    if datatype == "BYTES":
        return np.array([["", "a", "é"], ["👩‍💻", "0", "\x00x"]], dtype=object)
    if datatype == "BOOL":
        return np.array([[True, False, True], [False, False, True]])
    if datatype == "BF16":
        return np.array([[0.5, -1, 3e38], [1e-3, 0, np.inf]], dtype=ml_dtypes.bfloat16)
    dtype = np.dtype(
        datatype.replace("UINT", "u").replace("INT", "i").replace("FP", "f") if datatype[-1] == "8" else "f8"
    )
    dtype = np.dtype({"FP": "f", "IN": "i", "UI": "u"}[datatype[:2]] + str(int(datatype.lstrip("FPUINT")) // 8))
    bounds = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return np.array([[0, 1, bounds.max], [bounds.min, 2, 3]], dtype=dtype)


# What a request is read to


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("is_flat", [True, False])
def test_numbers_come_as_json(datatype: str, is_flat: bool) -> None:
    values = samples(datatype)
    data = values.ravel().tolist() if is_flat else values.tolist()
    payload = parsed(one(datatype, [2, 3], data))
    assert (payload.kind, payload.names, payload.rows) == ("tensor", ("x",), 2)
    assert is_same(payload.arrays[0], values)


def test_text_comes_as_json() -> None:
    payload = parsed(one("BYTES", [2], ["é", None]))
    assert payload.arrays[0].tolist() == ["é", None]


def test_words_of_triton_for_what_json_has_no_number_for() -> None:
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[4],"data":[NaN,Infinity,-Infinity,null]}]}'
    assert is_same(v2.parse(body, {}).payload.arrays[0], np.array([np.nan, np.inf, -np.inf, np.nan], np.float32))


@pytest.mark.parametrize(
    ("inputs", "content_type", "kind", "shapes"),
    [
        ([([2, 3], "x")], None, "tensor", [(2, 3)]),
        ([([2, 3], "x")], "np", "tensor", [(2, 3)]),
        ([([2], "x")], None, "tensor", [(2,)]),
        ([([2], "x")], "pd", "frame", [(2,)]),
        ([([2, 1], "x")], "pd", "frame", [(2,)]),
        ([([2, 3], "x")], "pd", "frame", [(2,)]),  # a list a row
        ([([2], "x"), ([2, 1], "y")], None, "frame", [(2,), (2,)]),
        ([([2], "x"), ([2, 1], "y")], "np", "tensors", [(2,), (2, 1)]),
        ([([2], "x"), ([2, 2], "y")], None, "tensors", [(2,), (2, 2)]),
        ([([2], "x"), ([2, 2], "y")], "pd", "frame", [(2,), (2,)]),
    ],
)
def test_content_types_decide_the_kind(inputs: Any, content_type: str | None, kind: str, shapes: Any) -> None:
    documents = [one("INT32", shape, list(range(int(np.prod(shape)))), name) for shape, name in inputs]
    payload = parsed(*documents, **({"parameters": {"content_type": content_type}} if content_type else {}))
    assert (payload.kind, [array.shape for array in payload.arrays]) == (kind, shapes)


def test_a_row_of_several_values_is_a_list_in_a_frame() -> None:
    payload = parsed(one("INT64", [2, 2], [1, 2, 3, 4]), parameters={"content_type": "pd"})
    assert payload.arrays[0].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("of_request", "of_tensor", "expected"),
    [
        (None, None, b"\xc3\xa9"),
        ("np", None, b"\xc3\xa9"),
        ("str", None, "é"),
        ("pd", None, "é"),
        (None, "str", "é"),
        ("pd", "np", b"\xc3\xa9"),
    ],
)
def test_bytes_are_text_where_the_content_type_says_so(of_request: Any, of_tensor: Any, expected: Any) -> None:
    parameters = {"binary_data_size": 6} | ({"content_type": of_tensor} if of_tensor else {})
    document: dict[str, Any] = {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "parameters": parameters}]}
    if of_request:
        document["parameters"] = {"content_type": of_request}
    body, headers = with_bytes(document, b"\x02\x00\x00\x00\xc3\xa9")
    assert v2.parse(body, headers).payload.arrays[0].tolist() == [expected]


def test_base64_is_bytes() -> None:
    payload = parsed(one("BYTES", [2], ["/w==", None], content_type="base64"))
    assert payload.arrays[0].tolist() == [b"\xff", None]


def test_pd_json_is_what_its_text_says() -> None:
    """As MLServer's pandas codec writes columns that are neither all numbers nor all text."""
    read = [parsed(one("BYTES", [n], texts, content_type="pd_json")).arrays[0] for n, texts in PD_JSON]
    assert [array.tolist() for array in read] == [["a", None], [1, 2], [{"b": [1]}, [2]]]
    assert [array.dtype.kind for array in read] == ["O", "i", "O"]


PD_JSON = [(2, ['"a"', "null"]), (2, ["1", "2"]), (2, ['{"b": [1]}', "[2]"])]


def test_what_comes_beside_the_inputs() -> None:
    request = v2.parse(
        body_of(
            one("FP64", [1], [1.5]),
            id="r-1",
            parameters={"unit": "u-1", "priority": 3, "binary_data_output": True},
            outputs=[{"name": "a"}, {"name": "b", "parameters": {"binary_data": False}}],
        ),
        {},
    )
    assert (request.id, request.unit, request.binary_outputs) == ("r-1", "u-1", True)
    assert request.outputs == (v2.RequestedOutput("a", True), v2.RequestedOutput("b", False))
    assert request.parameters == {"unit": "u-1", "priority": 3, "binary_data_output": True}
    assert v2.parse(body_of(one("FP64", [1], [1.5])), {}).outputs is None


def test_arrays_of_binary_data_are_aligned_and_writable() -> None:
    body, headers = binary("FP64", [1, 2], np.array([1.5, 2.5]).tobytes())
    array = v2.parse(body, headers).payload.arrays[0]
    assert array.flags.aligned and array.flags.writeable


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_bodies(encoding: str, compress: Any) -> None:
    body, headers = binary("FP64", [2], np.array([1.5, 2.5]).tobytes())
    compressed, headers = compress(body), headers | {"content-encoding": encoding}
    assert v2.parse(compressed, headers, len(body)).payload.arrays[0].tolist() == [1.5, 2.5]
    with pytest.raises(BadInput, match="longer than"):
        v2.parse(compressed, headers, len(body) - 1)
    with pytest.raises(BadInput, match="cut short"):
        v2.parse(compressed[:-6], headers)
    with pytest.raises(BadInput, match="cut short or goes on"):
        v2.parse(compressed + b"x", headers)
    with pytest.raises(BadInput, match=f"not {encoding}"):
        v2.parse(body, headers)


def test_a_bomb_is_refused_before_it_is_there() -> None:
    bomb = gzip.compress(bytes(100 * 2**20))
    with pytest.raises(BadInput, match="longer than 65536"):
        v2.parse(bomb, {"content-encoding": "gzip"}, 65536)
    with pytest.raises(BadInput, match="'br' is not known"):
        v2.parse(bomb, {"content-encoding": "br"})


# What is refused


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[1]", "JSON object"),
        (b"null", "JSON object"),
        (b"\xff", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[NaN," + b"[" * 100_000, "not JSON"),
        (b'{"inputs": [NaN, "\\ud800"]}', "not JSON"),
        (b'{"inputs": ["\\ud800"]}', "not JSON"),
        (b'{"inputs": NaN, "x": 1e999}', "not JSON"),
        (b'{"inputs": NaN, "x": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"inputs": ' + b"[" * 1000 + b"]" * 1000 + b"}", "an object with name"),
        (body_of(), "at least one tensor"),
        (json.dumps({"inputs": {}}).encode(), "at least one tensor"),
        (body_of(1), "an object with name"),
        (body_of({}), "name"),
        (body_of(one("FP64", [1], [1], name="")), "name"),
        (body_of(one("FP128", [1], [1])), "expected one of BOOL"),
        (body_of(one("BF16", [1], [1])), "binary data only"),
        (body_of({"name": "x", "datatype": [[[]]], "shape": [1], "data": [1]}), "expected one of BOOL"),
        (body_of({"name": "x", "datatype": "FP64", "shape": [1]}), "either data or"),
        (body_of(one("FP64", [1], [1], binary_data_size=8)), "either data or"),
        (
            body_of({"name": "x", "datatype": "FP64", "shape": [1], "parameters": {"binary_data_size": 8}}),
            "without the",
        ),
        (body_of(one("FP64", [1], 1)), "is a list"),
        (body_of(one("FP64", [1], {"a": 1})), "is a list"),
        (body_of(one("FP64", [], [1])), "shape is"),
        (body_of(one("FP64", 1, [1])), "shape is"),
        (body_of(one("FP64", [1.0], [1])), "shape is"),
        (body_of(one("FP64", [True], [1])), "shape is"),
        (body_of(one("FP64", [1] * 33, [1])), "shape is"),
        (body_of(one("FP64", [0], [])), "length from 1"),
        (body_of(one("FP64", [-1], [1])), "length from 1"),
        (body_of(one("FP64", [-1, -1], [1])), "length from 1"),
        (body_of(one("FP64", [2**31], [1])), "length from 1"),
        (body_of(one("FP64", [2**62, 4], [1])), "length from 1"),
        (body_of(one("FP64", [2**16] * 4, [])), "does not fit"),
        (body_of(one("FP64", [2], [1])), "does not fit"),
        (body_of(one("FP64", [2, 3], [[1, 2], [3, 4], [5, 6]])), "does not fit"),
        (body_of(one("FP64", [1], [[]])), "does not fit"),
        (body_of(one("FP64", [3], [[1, 2], [3]])), "uneven"),
        (body_of(one("FP64", [2], [[1], 2])), "uneven"),
        (body_of(one("FP64", [2], [1, [2]])), "uneven lists"),
        (body_of(one("FP64", [1], ["1.5"])), "not FP64: it has text"),
        (body_of(one("FP64", [1], [True])), "not FP64: it has booleans"),
        (body_of(one("FP64", [1], [{}])), "not FP64: it has objects"),
        (body_of(one("INT64", [1], [1.5])), "not INT64: it has fractions"),
        (body_of(one("INT64", [1], [1.0])), "not INT64: it has fractions"),
        (body_of(one("INT64", [1], [None])), "not INT64: it has nulls"),
        (body_of(one("INT64", [1], [True])), "not INT64: it has booleans"),
        (body_of(one("INT64", [1], [2**63])), "out of the range of INT64"),
        (body_of(one("INT64", [1], [2**64])), "not INT64"),
        (body_of(one("INT8", [1], [128])), "out of the range of INT8"),
        (body_of(one("INT8", [1], [-129])), "out of the range of INT8"),
        (body_of(one("UINT8", [1], [256])), "out of the range of UINT8"),
        (body_of(one("UINT64", [1], [-1])), "out of the range of UINT64"),
        (body_of(one("FP32", [1], [1e39])), "out of the range of FP32"),
        (body_of(one("FP16", [1], [65520])), "out of the range of FP16"),
        (body_of(one("FP64", [2], [1, float("nan")]))[:-3] + b"9" * 400 + b"]}]}", "not JSON"),
        (body_of(one("BOOL", [1], [1])), "not BOOL: it has whole numbers"),
        (body_of(one("BYTES", [1], [1])), "not BYTES: it has whole numbers"),
        (body_of(one("BYTES", [1], ["%"], content_type="base64")), "base64 by"),
        (body_of(one("BYTES", [1], ["é"], content_type="base64")), "base64 by"),
        (body_of(one("BYTES", [1], ["a"], content_type="hex")), "content_type 'hex'"),
        (body_of(one("BYTES", [1], ["a"], content_type="pd_json")), "pd_json by"),
        (body_of(one("FP64", [1], [1]), parameters={"content_type": "pd_json"}), "content_type 'pd_json'"),
        (body_of(one("FP64", [1], [1]), parameters=[]), "an object"),
        (body_of(one("FP64", [1], [1]), parameters={"a": []}), "text, numbers and booleans"),
        (body_of(one("FP64", [1], [1]), parameters={"unit": 7}), "parameters.unit is text"),
        (body_of(one("FP64", [1], [1]), parameters={"binary_data_output": 1}), "true or false"),
        (body_of(one("FP64", [1], [1], shared_memory_region="r")), "hared memory"),
        (body_of(one("FP64", [1], [1]), id=7), "id is text"),
        (body_of(one("FP64", [1], [1]), outputs={}), "outputs is a list"),
        (body_of(one("FP64", [1], [1]), outputs=["y"]), "name of an output"),
        (body_of(one("FP64", [1], [1]), outputs=[{"name": "y"}, {"name": "y"}]), "twice"),
        (
            body_of(one("FP64", [1], [1]), outputs=[{"name": "y", "parameters": {"classification": 2}}]),
            "classification",
        ),
        (body_of(one("FP64", [1], [1]), one("FP64", [1], [1])), "'x' is there twice"),
        (body_of(one("FP64", [1], [1]), one("FP64", [2], [1, 2], name="y")), "'y' has 2 rows where 'x' has 1"),
    ],
)
def test_bad_json_is_refused_with_a_sentence(body: bytes, why: str) -> None:
    with pytest.raises(BadInput, match=why) as refused:
        v2.parse(body, {})
    assert len(str(refused.value)) < 400 and "\n" not in str(refused.value)


HUGE = int("9" * 4000)


@pytest.mark.parametrize(
    ("request_of", "why"),
    [
        (binary("FP64", [2], bytes(8)), "needs 16 bytes"),
        (binary("FP64", [2**31 - 1] * 8, bytes(8)), "needs .* bytes"),
        (binary("FP64", [1], bytes(8), size=16), "ends before"),
        (binary("FP64", [1], bytes(8), size=7), "needs 8 bytes"),
        (binary("FP64", [1], bytes(8), size=-8), "number of bytes"),
        (binary("FP64", [1], bytes(8), size=8.0), "number of bytes"),
        (binary("FP64", [1], bytes(8), size=True), "number of bytes"),
        (binary("FP64", [1], bytes(8), size=2**63), "ends before"),
        (binary("FP64", [1], bytes(9), size=8), "goes on for 1 bytes"),
        (binary("BOOL", [2], b"\x00\x02"), "0 or 1"),
        (binary("BYTES", [1], b"\x05\x00\x00\x00abc"), "do not add up"),
        (binary("BYTES", [1], b"\xff\xff\xff\xffabc"), "do not add up"),
        (binary("BYTES", [1], b"\x01\x00\x00\x00abc"), "do not add up"),
        (binary("BYTES", [2], b"\x04\x00\x00\x00abcd"), "do not add up"),
        (binary("BYTES", [2], b"\x02\x00\x00\x00ab\x00\x00"), "do not add up"),
        (binary("BYTES", [2**31 - 1], b"\x00\x00\x00\x00"), "more elements"),
        (binary("BYTES", [1], b"abc"), "more elements"),
        ((b"{}", {LENGTH: "3"}), "is 3, but the body has 2"),
        ((b"{}", {LENGTH: "-1"}), "number of bytes"),
        ((b"{}", {LENGTH: "٣"}), "number of bytes"),
        ((b"{}", {LENGTH: "9" * 5000}), "number of bytes"),
        ((b"{}", {LENGTH: ""}), "number of bytes"),
        ((bytes(80), {LENGTH: "0"}), "not JSON"),
        (with_bytes({"inputs": [one("FP64", [1], [float("nan")], binary_data_size=HUGE)]}, b""), "either data"),
        (with_bytes({"inputs": [one("FP64", [HUGE, HUGE], [float("nan")])]}, b""), "length from 1"),
        (binary("FP64", [1], b"", size=HUGE), "not JSON"),
    ],
)
def test_bad_binary_data_is_refused_with_a_sentence(request_of: tuple[bytes, dict[str, str]], why: str) -> None:
    with pytest.raises(BadInput, match=why) as refused:
        v2.parse(*request_of)
    assert len(str(refused.value)) < 400


def test_ten_thousand_columns() -> None:
    payload = parsed(*[one("FP64", [1], [place], name=f"c{place}") for place in range(10_000)])
    assert (payload.kind, len(payload.names), payload.rows) == ("frame", 10_000, 1)


# What a client is answered


def answered(outputs: Payload, /, **request: Any) -> tuple[dict[bytes, bytes], bytes]:
    asked = v2.parse(body_of(one("FP64", [1], [1]), **request), {})
    headers, body = v2.answer(asked, outputs, "m", "3")
    return dict(headers), body


def test_an_answer_as_json() -> None:
    headers, body = answered(tensor(np.array([0.25, 1.0]), "y"), id="r-1")
    assert headers == {b"content-type": b"application/json"}
    assert json.loads(body) == {
        "model_name": "m",
        "model_version": "3",
        "id": "r-1",
        "outputs": [{"name": "y", "shape": [2], "datatype": "FP64", "data": [0.25, 1.0]}],
    }


def test_an_answer_in_the_clients_order_part_json_part_bytes() -> None:
    outputs = Payload("frame", ("a", "b", "c"), (np.array([1]), np.array(["é"], dtype=object), np.array([2.5])))
    wanted = [{"name": "c", "parameters": {"binary_data": True}}, {"name": "b"}]
    headers, body = answered(outputs, outputs=wanted)
    length = int(headers[LENGTH.encode()])
    document = json.loads(body[:length])
    assert [output["name"] for output in document["outputs"]] == ["c", "b"]
    assert document["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert document["outputs"][1]["data"] == ["é"]
    assert np.frombuffer(body[length:]).tolist() == [2.5]
    assert document["parameters"] == {"content_type": "pd"}


def test_a_nameless_output_goes_by_any_name() -> None:
    assert json.loads(answered(tensor([1.0]))[1])["outputs"][0]["name"] == "output-0"
    assert json.loads(answered(tensor([1.0]), outputs=[{"name": "score"}])[1])["outputs"][0]["name"] == "score"
    with pytest.raises(BadInput, match="no output 'score'; there is 'y'"):
        answered(tensor([1.0], "y"), outputs=[{"name": "score"}])


def test_numbers_without_a_number_in_json_are_the_words_of_triton() -> None:
    body = answered(tensor(np.array([[np.nan, np.inf], [-np.inf, 0.5]], np.float32), "y"))[1]
    assert b"[NaN,Infinity,-Infinity,0.5]" in body
    result = InferResult.from_response_body(body)
    assert is_same(result.as_numpy("y"), np.array([[np.nan, np.inf], [-np.inf, 0.5]], np.float32))


@pytest.mark.parametrize(
    ("array", "datatype", "data"),
    [
        (np.array(["a", np.nan], dtype=object), "BYTES", ["a", None]),
        (np.array(["a", "bc"]), "BYTES", ["a", "bc"]),
        (np.array([b"a", b"bc"]), "BYTES", ["a", "bc"]),
        (np.array(["2026-01-02T03:04:05"], "M8[s]"), "BYTES", ["2026-01-02T03:04:05"]),
        (np.array([1, 2], dtype=object), "INT64", [1, 2]),
        (np.array([np.float64(1.5), None], dtype=object), "FP64", [1.5, float("nan")]),
        (np.array([1, 2], ">i4"), "INT32", [1, 2]),
        (np.array([1.5], np.longdouble), "FP64", [1.5]),
        (np.array([[1, 2], [3, 4]]).T, "INT64", [1, 3, 2, 4]),
    ],
)
def test_outputs_of_other_types_become_those_of_the_protocol(array: Any, datatype: str, data: list[Any]) -> None:
    output = json.loads(answered(tensor(array, "y"))[1])["outputs"][0]
    assert output["datatype"] == datatype
    assert str(output["data"]) == str(data)


def test_missing_text_is_json_though_bytes_were_asked_for() -> None:
    outputs = Payload("frame", ("a", "b"), (np.array(["x", None], dtype=object), np.array([1.5, 2.5])))
    headers, body = answered(outputs, parameters={"binary_data_output": True})
    result = InferResult.from_response_body(body, header_length=int(headers[LENGTH.encode()]))
    assert result.as_numpy("a").tolist() == ["x", None]
    assert result.as_numpy("b").tolist() == [1.5, 2.5]


@pytest.mark.parametrize(
    ("array", "error", "why"),
    [
        (np.array([b"\xff"], dtype=object), BadInput, "ask for it with binary_data"),
        (np.array([{"a": 1}], dtype=object), BadInput, "ask through /invocations"),
        (np.array([1j]), ModelFault, "complex128"),
    ],
)
def test_outputs_that_json_cannot_hold(array: Any, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        answered(tensor(array, "y"))


# The real client, both ways


@pytest.mark.parametrize(
    ("datatype", "as_bytes"),
    [(t, as_bytes) for t in [*DATATYPES, "BF16", "BYTES"] for as_bytes in (True, False) if as_bytes or t != "BF16"],
)  # tritonclient sends BF16 as bytes only
def test_tritonclient_is_understood_and_understands(datatype: str, as_bytes: bool) -> None:
    values = samples(datatype)
    tensor_in = InferInput("x", list(values.shape), datatype).set_data_from_numpy(values, binary_data=as_bytes)
    wanted = [InferRequestedOutput("y", binary_data=as_bytes)]
    body, length = _get_inference_request([tensor_in], "r-1", wanted, 0, False, False, 0, None, {"unit": "u-1"})
    request = v2.parse(body, {} if length is None else {LENGTH: str(length)})
    assert request.unit == "u-1"
    expected = values.astype(np.float32) if datatype == "BF16" else values
    if datatype == "BYTES" and as_bytes:
        expected = np.array([[v.encode() for v in row] for row in values], dtype=object)
    assert is_same(request.payload.arrays[0], expected)

    headers, answer = v2.answer(request, tensor(values, "y"), "m", "3")
    header = dict(headers).get(LENGTH.encode())
    result = InferResult.from_response_body(answer, header_length=None if header is None else int(header))
    output = result.as_numpy("y")
    if datatype == "BYTES" and as_bytes:
        output = np.array([[v.decode() for v in row] for row in output], dtype=object)
    assert is_same(output, values)


def test_tritonclient_without_named_outputs_gets_bytes() -> None:
    inputs = [InferInput(name, [2], "FP32").set_data_from_numpy(np.array([1, 2], np.float32)) for name in "ab"]
    body, length = _get_inference_request(inputs, "", None, 7, True, False, 1, 1000, None)
    request = v2.parse(body, {LENGTH: str(length)})
    assert (request.binary_outputs, request.payload.kind) == (True, "frame")
    headers, answer = v2.answer(request, request.payload, "m", "3")
    result = InferResult.from_response_body(answer, header_length=int(dict(headers)[LENGTH.encode()]))
    assert result.as_numpy("b").tolist() == [1.0, 2.0]


# The other side: an upstream server is asked


def test_a_server_that_knows_json_only_is_sent_null_for_nan() -> None:
    for dtype in ("f2", "f4", "f8"):
        _, body = v2.ask(Payload("frame", ("a", "b"), (np.array([1.5, np.nan], dtype), np.array([1, 2]))), binary=False)
        assert [found["data"] for found in json.loads(body)["inputs"]] == [[1.5, None], [1, 2]]
        with pytest.raises(BadInput, match="infinity"):
            v2.ask(tensor(np.array([1.5, -np.inf], dtype)), binary=False)


def upstreams(*outputs: Any, **others: Any) -> Payload:
    return v2.parse_answer(json.dumps({"outputs": list(outputs), **others}).encode(), {}, "2")


@pytest.mark.parametrize("version", ["2", "", None])
def test_an_answer_may_say_its_version(version: str | None) -> None:
    assert upstreams(one("FP64", [1], [1]), model_version=version).arrays[0].tolist() == [1.0]


@pytest.mark.parametrize("version", ["1", "02", 2, ["2"]])
def test_the_answer_of_another_version_is_none(version: Any) -> None:
    with pytest.raises(BadInput, match="answered"):
        upstreams(one("FP64", [1], [1]), model_version=version)


def test_content_types_that_only_its_clients_know_do_not_spoil_an_answer() -> None:
    assert upstreams(one("BYTES", [1], ["{}"], content_type="hg_json")).arrays[0].tolist() == ["{}"]
    assert upstreams(one("BYTES", [1], ["1"], content_type="pd_json")).arrays[0].tolist() == [1]


# Properties


def _back(headers: v2.Headers) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers}


@given(payloads())
def test_what_is_sent_as_bytes_arrives_as_it_was(payload: Payload) -> None:
    headers, body = v2.ask(payload)
    arrived = v2.parse(body, _back(headers)).payload
    texts = [array.dtype != object or type(array.flat[0]) is str for array in payload.arrays]
    assert (arrived.kind, arrived.names) == (payload.kind, payload.names)
    for sent, got, is_text in zip(payload.arrays, arrived.arrays, texts, strict=True):
        assert is_same(sent, got), is_text


@given(payloads())
def test_what_is_answered_as_bytes_arrives_as_it_was(payload: Payload) -> None:
    request = v2.V2Request(payload, binary_outputs=True)
    headers, body = v2.answer(request, payload, "m", "3")
    assert are_same(v2.parse_answer(body, _back(headers)), payload)


@given(payloads())
def test_what_is_answered_as_json_arrives_as_it_was(payload: Payload) -> None:
    if any(array.dtype == object and type(array.flat[0]) is bytes for array in payload.arrays):
        return  # bytes are text in JSON
    headers, body = v2.answer(v2.V2Request(payload), payload, "m", "3")
    assert are_same(v2.parse_answer(body, _back(headers)), payload)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
PARAMETERS = st.dictionaries(
    st.sampled_from(["content_type", "binary_data_size", "binary_data_output", "unit", "a"]),
    st.sampled_from(["np", "pd", "str", "base64", 8, 16, True, None, "u"]) | JSON,
    max_size=3,
)
TENSORS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["x", "y"]) | JSON,
        "datatype": st.sampled_from([*DATATYPES, "BYTES", "BF16"]) | JSON,
        "shape": st.lists(st.integers(-1, 4) | JSON, max_size=3) | JSON,
        "data": st.lists(st.integers(-2, 300) | JSON, max_size=6) | JSON,
        "parameters": PARAMETERS,
    },
)
REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(TENSORS, max_size=3) | JSON},
    optional={
        "id": JSON,
        "parameters": PARAMETERS | JSON,
        "outputs": st.lists(st.fixed_dictionaries({"name": JSON})) | JSON,
    },
)


def only_bad_input(body: bytes, headers: dict[str, str]) -> None:
    try:
        request = v2.parse(body, headers, 4096)
    except BadInput as error:
        message = str(error)
        assert message.endswith(".") and len(message) < 600 and json.loads(v2.error(message)) == {"error": message}
        return
    assert request.payload.rows >= 1
    assert {len(array) for array in request.payload.arrays} == {request.payload.rows}


@settings(max_examples=300)
@given(REQUESTS, st.binary(max_size=40), st.sampled_from([None, 0, 1, -1]))
def test_any_json_and_any_bytes_after_it_are_read_or_refused(document: Any, data: bytes, off: int | None) -> None:
    text = json.dumps(document).encode()
    only_bad_input(text + data if off is not None else text, {} if off is None else {LENGTH: str(len(text) + off)})


@given(st.binary(max_size=200), st.dictionaries(st.sampled_from([LENGTH, "content-encoding"]), st.text(max_size=5)))
def test_any_bytes_and_headers_are_read_or_refused(body: bytes, headers: dict[str, str]) -> None:
    only_bad_input(body, headers)


@given(st.data())
def test_a_good_body_with_bad_bytes_in_it_is_read_or_refused(data: st.DataObject) -> None:
    headers, body = v2.ask(data.draw(payloads()))
    at = data.draw(st.integers(0, len(body) - 1))
    bad = body[:at] + data.draw(st.binary(max_size=4)) + body[at + data.draw(st.integers(0, 4)) :]
    only_bad_input(bad, _back(headers))


# Metadata


def test_documents_of_server_and_model() -> None:
    spec = ModelSpec("mlflow", (TensorSpec("x", "FP64", (-1, 4)),), (TensorSpec("y", "BYTES", (-1,)),), {"run": "r"})
    assert json.loads(v2.model_metadata("m", ["1", "2"], spec)) == {
        "name": "m",
        "versions": ["1", "2"],
        "platform": "mlflow",
        "inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "BYTES", "shape": [-1]}],
        "parameters": {"run": "r"},
    }
    assert json.loads(v2.server_metadata("1.2")) == {
        "name": "holdfast",
        "version": "1.2",
        "extensions": ["binary_tensor_data"],
    }
    assert json.loads(v2.live(True)) == {"live": True}
    assert json.loads(v2.ready(False)) == {"ready": False}
    assert json.loads(v2.ready(True, "m")) == {"name": "m", "ready": True}
    assert json.loads(v2.error("no \ud800")) == {"error": "no \\ud800"}
