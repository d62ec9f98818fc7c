"""Errors carry their exit status and read as one sentence and a hint."""

from __future__ import annotations

import pytest

from holdfast import errors


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.UserError, 2),
        (errors.ConfigError, 2),
        (errors.Refused, 1),
        (errors.OutsideError, 4),
        (errors.Conflict, 4),
        (errors.Damaged, 4),
    ],
)
def test_exit_statuses(kind: type[errors.HoldfastError], status: int) -> None:
    assert kind("expected a, found b.").exit_status == status


def test_the_text_is_the_sentence_and_the_hint() -> None:
    error = errors.UserError("expected a, found b.", hint="Type c.", reason_code="x")
    assert (str(error), error.reason_code) == ("expected a, found b. Type c.", "x")


def test_a_config_error_says_where() -> None:
    assert str(errors.ConfigError("wrong.", file="holdfast.yaml", line=3, column=7)) == "holdfast.yaml:3:7: wrong."
    assert str(errors.ConfigError("wrong.")) == "wrong."
