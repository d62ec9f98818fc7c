"""The bound on what is under way."""

from __future__ import annotations

import pytest

from holdfast.serving.admission import Admission, Overloaded


def test_refuses_above_the_limit_and_takes_again_after_one_has_left() -> None:
    admission = Admission(2)
    admission.enter()
    admission.enter()
    assert admission.is_full
    with pytest.raises(Overloaded, match="2 requests are under way"):
        admission.enter()
    assert (admission.under_way, admission.refused) == (2, 1)
    admission.leave()
    admission.enter()


@pytest.mark.parametrize(
    ("limit", "part", "most"), [(10, 0.5, 5), (10, 1.0, 10), (3, 0.5, 2), (1, 0.01, 1), (256, 0.5, 128)]
)
def test_is_pressed_above_its_part_of_the_limit(limit: int, part: float, most: int) -> None:
    admission = Admission(limit, part)
    pressed = []
    for _ in range(limit):
        admission.enter()
        pressed.append(admission.is_pressed)
    assert pressed == [number > most for number in range(1, limit + 1)]
