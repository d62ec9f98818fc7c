from __future__ import annotations

import numpy as np

from holdfast.evidence.left_out import LeftOut


def test_counts_by_arm_add_up() -> None:
    a = LeftOut.of("no_unit", np.array([0, 1, 1, -1]))
    b = LeftOut({"no_unit": (1, 0, 0), "late:click": (0, 2, 0), "override": (0, 0, 0)})
    assert a["no_unit"] == (1, 2, 1) and a.total("no_unit") == 4 and a.total("override") == 0
    assert dict(a + b) == {"no_unit": (2, 2, 1), "late:click": (0, 2, 0)}
    assert a + b - b == a and hash(a + b - b) == hash(a)
    assert LeftOut.from_json((a + b).to_json()) == a + b
    assert not LeftOut() and len(a + b) == 2


def test_sentences_say_what_how_many_and_of_whom() -> None:
    counts = {
        "no_unit": (1_000, 200, 3),
        "late:click": (0, 7, 0),
        "unknown:spend": (0, 0, 4),
        "new_reason:x": (1, 0, 0),
    }
    assert LeftOut(counts).sentences() == [
        "Requests without a unit: 1,203 (1,000 of the champion, 200 of the canary).",
        "Outcomes of click that came later than the delay allows, which do not count: 7 (0 of the champion, 7 of the canary).",
        "Outcomes of spend that name no request which is evidence here: 4.",
        "Outcomes of x that are left out (new_reason): 1 (1 of the champion, 0 of the canary).",
    ]
    assert "repeat a prediction id" in LeftOut({"duplicate": (1, 0, 0)}).sentences()[0]
    assert "repeat the first one" in LeftOut({"duplicate:click": (1, 0, 0)}).sentences()[0]
