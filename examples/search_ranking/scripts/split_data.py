"""Take the sealed holdout out of the judged table: what is left is trained on, the holdout is the test table.

python scripts/split_data.py

For workflows that call the scripts one by one; `holdfast run` does this by itself. Type `holdfast holdout freeze` first.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent


def holdout(config: str, store: str) -> pd.DataFrame:
    """The rows of the frozen holdout: its digest from `holdfast holdout check`, its bytes from the store by that name."""
    program = Path(sys.executable).with_name("holdfast")
    words = [str(program), "holdout", "check", "--json", "--config", config]
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    digest = json.loads(done.stdout)["digest"].removeprefix("sha256:")
    content = read(store, f"objects/sha256/{digest[:2]}/{digest}")
    if hashlib.sha256(content).hexdigest() != digest:
        sys.exit(f"the holdout in {store} is not the one that was frozen.")
    return pd.read_parquet(io.BytesIO(content))


def read(store: str, key: str) -> bytes:
    """An object of the store, which is a folder or the URL of a bucket."""
    if "://" not in store:
        return (ROOT / store / key).read_bytes()
    import obstore

    return bytes(obstore.get(obstore.store.from_url(store), key).bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description="Split the judged table by the frozen holdout.")
    parser.add_argument("--data", default=str(ROOT / "data" / "train.parquet"), help="The whole judged table.")
    parser.add_argument("--training-part", default=str(ROOT / "data" / "training_part.parquet"))
    parser.add_argument("--test", default=str(ROOT / "data" / "test.parquet"))
    parser.add_argument("--config", default="holdfast.yaml")
    parser.add_argument("--store", default=os.environ.get("HOLDFAST_STORE", ".holdfast"))
    given = parser.parse_args()
    rows, test = pd.read_parquet(given.data), holdout(given.config, given.store)
    rest = rows[~rows["query_id"].isin(set(test["query_id"]))]
    for name, part in ((given.training_part, rest), (given.test, test)):
        part.to_parquet(name, index=False)
        print(f"{name}: {len(part):,} rows of {part['query_id'].nunique()} queries")


if __name__ == "__main__":
    main()
