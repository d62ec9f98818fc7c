"""The fold, the anchor, the policy and the story: tables of cases."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.errors import Damaged
from holdfast.ledger import Event
from holdfast.release import evolve, fold, policy_notices, story
from holdfast.release.anchor import Tenure, anchor_after, began
from holdfast.release.state import ReleaseState, ReleaseVersion
from holdfast.release.story import sentence


def event(number: int, type_: str, payload: dict[str, Any] | None = None, **more: Any) -> Event:
    time = f"2026-01-{number + 1:02d}T00:00:00Z"
    return Event(stream="release/m", number=number, type=type_, time=time, who="ada", payload=payload or {}, **more)


def test_unknown_types_and_fields_of_later_releases_are_left_alone() -> None:
    version = {"version": "1", "digest": "sha256:a", "new_field": 3}
    state = fold([event(0, "registered", version), event(1, "canary_started", {"share": 0.1})])
    assert state.versions == {"1": ReleaseVersion(version="1", digest="sha256:a")}
    assert (state.length, state.ledger_id) == (2, "")
    assert state.head == event(1, "canary_started", {"share": 0.1}).digest


@pytest.mark.parametrize(
    ("type_", "payload"),
    [("staged", {"version": "7"}), ("promoted", {}), ("judged", {"verdict": "pass"}), ("rolled_back", {"to": "1"})],
)
def test_an_event_that_does_not_fit_is_damage(type_: str, payload: dict[str, Any]) -> None:
    with pytest.raises(Damaged, match=f"event 0 of release/m \\({type_}\\) does not fit"):
        evolve(ReleaseState(), event(0, type_, payload))


def score(value: float, direction: str = "higher", holdout: str = "h") -> dict[str, Any]:
    return {"metric": "ndcg@10", "value": value, "direction": direction, "holdout": holdout}


def tenures(*spans: tuple[str, str, str | None, dict[str, Any] | None]) -> list[Tenure]:
    return [Tenure(version=v, since=s, until=u, score=k) for v, s, u, k in spans]


JAN, FEB, MAR, JUN, JUL = (f"2026-{month:02d}-01T00:00:00Z" for month in (1, 2, 3, 6, 7))
STEPS = tenures(
    ("1", JAN, FEB, score(0.80)),
    ("2", FEB, MAR, score(0.78)),
    ("3", MAR, JUN, score(0.79)),
    ("4", JUN, None, score(0.7)),
)


@pytest.mark.parametrize(
    ("spans", "anchor", "now", "unhealthy", "better", "expected"),
    [
        ([], None, JAN, (), False, None),
        (STEPS[:1], None, JAN, (), False, "1"),
        (STEPS[:2], "1", FEB, (), False, "1"),
        (STEPS[:2], "1", FEB, (), True, "2"),
        (STEPS[:3], "1", MAR, (), False, "1"),
        (STEPS, "1", JUN, (), False, "3"),
        (STEPS[:3], "1", MAR, ("1",), False, "3"),
        (STEPS[:2], "1", MAR, ("1", "2"), False, "2"),
        (tenures(("1", JAN, JUN, None), ("2", JUN, None, None)), "1", JUL, (), False, "1"),
        (
            tenures(("1", FEB, MAR, score(0.9)), ("2", MAR, JUN, None), ("3", JUN, None, score(0.9))),
            "1",
            JUL,
            (),
            False,
            "2",
        ),
        (
            tenures(("1", JAN, FEB, None), ("2", MAR, JUN, score(9, "lower")), ("3", JUN, None, score(8, "lower"))),
            "1",
            JUL,
            (),
            False,
            "3",
        ),
        (
            tenures(("1", JAN, FEB, None), ("2", MAR, JUN, score(0.1)), ("3", JUN, None, score(0.9, holdout="i"))),
            "1",
            JUL,
            (),
            False,
            "2",
        ),
    ],
    ids=[
        "nobody",
        "the first",
        "a step down keeps it",
        "a better one takes it",
        "two steps down keep it",
        "too old: the best of the rest",
        "rolled back from: the best of the rest",
        "all rolled back from: the champion",
        "its last day counts, not its first",
        "not all measured: the earliest",
        "lower is better",
        "other holdouts: the earliest",
    ],
)
def test_the_anchor(
    spans: list[Tenure], anchor: str | None, now: str, unhealthy: tuple[str, ...], better: bool, expected: str | None
) -> None:
    assert anchor_after(spans, anchor, now, unhealthy, better=better) == expected


def test_a_champion_that_comes_back_keeps_its_score() -> None:
    made = began(began(began((), "1", JAN, score(0.8)), "2", FEB, score(0.7)), "1", MAR)
    assert [(t.version, t.until) for t in made] == [("1", FEB), ("2", MAR), ("1", None)]
    assert made[-1].score == score(0.8)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"min": 0.8}, {"min": 0.7}, ["the policy is looser: min went from 0.8 to 0.7."]),
        ({"min": 0.8}, {"min": 0.9}, []),
        ({"min": 0.8, "a": 1}, {"a": 1, "min": 0.8}, []),
        (
            {"m": {"max_regression": 0.02}},
            {"m": {"max_regression": 0.05}},
            ["the policy is looser: m.max_regression went from 0.02 to 0.05."],
        ),
        ({"max": 3.0}, {"max": 2.0}, []),
        ({"max": 3.0}, {"max": 4.0}, ["the policy is looser: max went from 3 to 4."]),
        ({"confidence": 0.95}, {"confidence": 0.9}, ["the policy is looser: confidence went from 0.95 to 0.9."]),
        ({"metrics": {"f1": {"min": 0.5}}}, {"metrics": {}}, ["the policy no longer has metrics.f1.min (it was 0.5)."]),
        ({"min": 0.5}, {"min": None}, ["the policy no longer has min (it was 0.5)."]),
        ({"latency": {"calls": 3000}}, {"latency": {"calls": 10}}, []),
        (
            {"on_inconclusive": "fail"},
            {"on_inconclusive": "report"},
            ["the policy is looser: on_inconclusive went from fail to report."],
        ),
        (
            {"on_inconclusive": "hold", "m": {"on_inconclusive": None}},
            {"on_inconclusive": "hold", "m": {"on_inconclusive": "hold"}},
            [],
        ),
        (
            {"on_inconclusive": "hold", "m": {"on_inconclusive": "fail"}},
            {"on_inconclusive": "hold", "m": {"on_inconclusive": None}},
            ["the policy is looser: m.on_inconclusive went from fail to hold."],
        ),
        (None, {"min": 0.1}, []),
    ],
)
def test_a_looser_policy_names_each_number(
    old: dict[str, Any] | None, new: dict[str, Any], expected: list[str]
) -> None:
    assert policy_notices(old, new) == expected


@pytest.mark.parametrize(
    ("type_", "payload", "expected"),
    [
        (
            "promoted",
            {"version": "2", "from": "1", "first_release": False, "override": "why"},
            "version 2 became champion after version 1, by override: why",
        ),
        (
            "promoted",
            {"version": "1", "from": None, "first_release": True},
            "version 1 became champion as the first release",
        ),
        (
            "judged",
            {"verdict": "fail", "candidate": {"uri": "runs:/a/model"}, "champion": None},
            "the gate said fail of runs:/a/model, without a champion",
        ),
        (
            "adopted",
            {"aliases": {"champion": "3"}, "taken_over": "0123456789"},
            "adopted version 3 as the champion, from the ledger 01234567…",
        ),
        ("restored", {"alias": "previous", "version": None}, "restored previous to nowhere"),
        ("foreign_change", {"alias": "champion", "found": "4"}, "somebody else moved champion to version 4"),
        ("anchor_reset", {"reason": "new market"}, "the anchor was reset to the champion: new market"),
        ("promoted", {"of": "a later release"}, "promoted"),
        ("canary_started", {}, "canary_started"),
    ],
)
def test_sentences(type_: str, payload: dict[str, Any], expected: str) -> None:
    assert sentence(event(0, type_, payload)) == expected


def test_the_story_says_when_what_and_who() -> None:
    told = event(3, "staged", {"version": "2"}, ci={"actor": "octocat"})
    assert story([told]) == ["2026-01-04 00:00:00  version 2 was staged  (ada, in CI for octocat)"]
