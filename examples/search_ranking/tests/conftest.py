"""The package is found in src/, with or without being installed; data that several tests share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

# Titles that have broken tokenizers and feature code.
HOSTILE = [
    "",
    " ",
    "\x00",
    "—",
    "USB–C — Kabel",
    "“Limited” ‘Classic’ O’Neary",
    '15.6" ½ 1½ 27″',
    "Ümlaut™ ® © №",
    "e\u0301 é",  # the same letter, composed and not
    "ﬁne ﬀ Ⅳ ①",
    "👩\u200d🚀 🇯🇵 ⚡\ufe0f",
    "ノートパソコン 新品 笔记本电脑 노트북",
    "שלום \u202eעולם\u202c مرحبا",
    "a\u200bb\u00adc\ufeff",
    "\ud800 alone",
    "I\u0307stanbul İ ß ẞ",
    "\t\n\r\u2028",
    "word " * 2_000,
    "x" * 20_000,
    "$1,000.00 & <b>bold</b> %s {} \\",
]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes a minute")
    config.addinivalue_line("markers", "data: needs the folder of HOLDFAST_DATA")


@pytest.fixture(scope="session")
def judged() -> pd.DataFrame:
    """The whole generated table."""
    from search_ranking.catalogue import table

    return table()


@pytest.fixture(scope="session")
def small(judged: pd.DataFrame) -> pd.DataFrame:
    """The rows of 60 queries."""
    return judged[judged["query_id"] < "q0060"].reset_index(drop=True)


@pytest.fixture(scope="session")
def chorus_folder() -> Path:
    """The real catalogue, where it is; its absence is a failure in CI only."""
    folder = Path(os.environ.get("HOLDFAST_DATA", ROOT.parents[1] / ".." / "shared" / "data")) / "chorus"
    if not folder.is_dir():
        message = f"no real catalogue in {folder}: set HOLDFAST_DATA"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder
