"""Who gets the canary, and which of two controllers is obeyed."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import Refused
from holdfast.release.routing import Routing, drawn, fence

NOW = Routing(model="m", epoch=5, champion="1", canary="2", share=0.1, release="r", lease_seconds=30.0)
names = st.text(max_size=30)


@given(names, names, st.floats(0, 1), st.floats(0, 1))
def test_raising_the_share_only_moves_units_to_the_canary(release: str, unit: str, one: float, two: float) -> None:
    low, high = (dataclasses.replace(NOW, release=release, share=share) for share in sorted([one, two]))
    assert low.variant_of(unit) == low.variant_of(unit)
    assert (low.variant_of(unit), high.variant_of(unit)) != ("canary", "champion")


@given(names, names)
def test_the_draw_is_in_range_and_the_ends_are_sure(release: str, unit: str) -> None:
    assert 0 <= drawn(release, unit) < 1
    assert dataclasses.replace(NOW, release=release, share=0.0).variant_of(unit) == "champion"
    assert dataclasses.replace(NOW, release=release, share=1.0).variant_of(unit) == "canary"
    assert dataclasses.replace(NOW, release=release, share=1.0, canary=None).variant_of(unit) == "champion"


def test_draws_are_uniform_and_independent_between_releases() -> None:
    units = [f"user-{number}" for number in range(50_000)]
    first, second = ([drawn(release, unit) for unit in units] for release in ("r1", "r2"))
    tenths = [0] * 10
    for draw in first:
        tenths[int(draw * 10)] += 1
    expected = len(units) / 10
    assert sum((count - expected) ** 2 / expected for count in tenths) < 27.9  # chi-squared, 9 degrees, p = 0.001
    both = sum(a < 0.3 and b < 0.3 for a, b in zip(first, second, strict=True)) / len(units)
    assert both == pytest.approx(0.09, abs=4 * (0.09 * 0.91 / len(units)) ** 0.5)


def test_a_draw_is_the_same_in_every_release_of_holdfast() -> None:
    assert drawn("r", "user-1") == pytest.approx(0.3737342954485817, abs=1e-12)
    assert drawn("", "") == pytest.approx(0.3548498508203197, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "obeyed"),
    [
        ({}, True),
        ({"epoch": 6}, True),
        ({"epoch": 6, "share": 0.0, "canary": None}, True),
        ({"lease_seconds": 5.0}, True),
        ({"epoch": 4}, False),
        ({"epoch": 4, "lease_seconds": 5.0}, False),
        ({"share": 0.2}, False),
        ({"champion": "3"}, False),
        ({"release": "other"}, False),
    ],
)
def test_fence(change: dict[str, object], obeyed: bool) -> None:
    wanted = dataclasses.replace(NOW, **change)  # type: ignore[arg-type]
    fence(None, wanted)
    if obeyed:
        fence(NOW, wanted)
        return
    with pytest.raises(Refused, match="stale") as caught:
        fence(NOW, wanted)
    assert caught.value.reason_code == "stale_epoch"


def test_documents_of_later_releases_are_read() -> None:
    assert Routing.from_json({**NOW.to_json(), "colour": "blue"}) == NOW
