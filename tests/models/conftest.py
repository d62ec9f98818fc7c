"""A small project whose functions are models, and its table."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

MODELS = '''
import os, sys, time
import numpy as np

def age(table):
    """Numbers, in the table's order."""
    print("this must not reach the protocol", flush=True)
    os.write(1, b"nor this\\n")
    return table["age"] / 3

def rows_and_columns(table):
    return np.full(len(table), float(len(table.columns)))

def labels(table):
    return np.where(table["age"] > 30, "höher", "niedriger")

def classes(table):
    return [int(x) + 2**53 for x in table["age"]]

def one_column(table):
    return np.ones((len(table), 1))

def probabilities(table):
    return np.tile([0.2, 0.3, 0.5], (len(table), 1))

def short(table):
    return [1.0] * (len(table) - 1)

def scalar(table):
    return 3.0

def empty(table):
    return None

def not_a_number(table):
    return np.where(table["age"] == 40, np.nan, 1.0)

def infinite(table):
    return np.where(table["age"] == 40, np.inf, 1.0)

def missing_label(table):
    return ["a", None, "b", "c"]

def mixed(table):
    return ["a", 1, 2.0, "b"]

def of_objects(table):
    return [object()] * len(table)

def check_age(age):
    if age.max() > 30:
        raise ValueError("Age cannot be\\nabove 30.")

def raises(table):
    return check_age(table["age"])

def in_library(table):
    return table["no such column"]

def leaves(table):
    sys.exit("enough")

def dies(table):
    print("about to go", file=sys.stderr, flush=True)
    os.kill(os.getpid(), 11)

def hangs(table):
    import subprocess
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", stubborn])
    open("pids", "w").write(f"{os.getpid()} {child.pid}")
    while True:
        time.sleep(1)

def slow(table):
    time.sleep(0.002 * len(table))
    return np.zeros(len(table))

def fast(table):
    return np.zeros(len(table))

NOT_A_FUNCTION = 3
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project folder with `src/scoring.py`, a broken module, and `rows.parquet` (4 rows: id, age, label)."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "scoring.py").write_text(MODELS, "utf-8")
    (tmp_path / "broken.py").write_text("import json\n\nvalue = json.loads('{')\n")
    (tmp_path / "needs.py").write_text("import a_package_that_is_not_there\n")
    table = pa.table({"id": ["a", "b", "c", "d"], "age": [10, 20, 40, 40], "label": [0, 0, 1, 1]})
    pq.write_table(table, tmp_path / "rows.parquet")
    return tmp_path
