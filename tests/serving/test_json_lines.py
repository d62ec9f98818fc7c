"""Structured logs."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from holdfast.serving.json_lines import MOST, configure
from tests.serving.gateways import FunctionModel, raising, running, table_with


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logger = logging.getLogger("holdfast.serving")
    before = (logger.handlers, logger.propagate, logger.level)
    configure(stream)
    yield stream
    logger.handlers, logger.propagate = before[:2]
    logger.setLevel(before[2])


def test_a_fault_is_a_line_without_the_unit_or_the_inputs(lines: io.StringIO) -> None:
    with running(table_with(FunctionModel("1"), FunctionModel("2", raising), 1.0)) as server:
        answer = server.infer([[1234.5]], unit="somebody")
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    fault = next(line for line in found if line["event"] == "fault")
    assert (fault["level"], fault["version"], fault["fault"]) == ("warning", "2", "raised")
    assert fault["prediction_id"] == answer.headers["x-holdfast-prediction-id"]
    assert fault["time"].endswith("Z")
    assert "somebody" not in lines.getvalue() and "1234.5" not in lines.getvalue()


def test_a_flood_of_one_message_is_cut_and_says_so(lines: io.StringIO) -> None:
    logger = logging.getLogger("holdfast.serving.test")
    for _ in range(10 * MOST):
        logger.warning("fault")
    logger.warning("another")
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert MOST <= sum(line["event"] == "fault" for line in found) <= 3 * MOST
    assert any("suppressed" in line for line in found) and found[-1]["event"] == "another"


def test_exceptions_and_odd_values_stay_one_line(lines: io.StringIO) -> None:
    logger = logging.getLogger("holdfast.serving.test")
    try:
        int("two\nlines")
    except ValueError:
        logger.exception("broken", extra={"what": {1, 2}, "number": 1 << 70})
    (line,) = lines.getvalue().splitlines()
    assert "ValueError" in json.loads(line)["exception"]
