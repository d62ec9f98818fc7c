"""Run by another environment's Python: what a Spark session reads of Delta tables on the local disk, as JSON on stdout.

`spark FOLDER…` reads them with Spark's own readers, by the protocol of Delta Lake: the log as JSON, its checkpoint as Parquet,
then exactly the files that they list. `sail FOLDER…` asks a Spark Connect server for `format("delta")`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.parse import unquote

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.types import StructType

ZONE = "America/New_York"  # the session's; instants do not depend on it


def rows_of(frame: DataFrame) -> list[list[object]]:
    """Every row in the order of its columns; instants as microseconds of UTC, days as text."""
    kinds = dict(frame.dtypes)
    wanted = {"timestamp": f.unix_micros, "date": lambda column: column.cast("string")}
    shown = frame.select(*(wanted.get(kinds[name], lambda c: c)(f.col(name)).alias(name) for name in frame.columns))
    return [list(row) for row in shown.collect()]


def told(frame: DataFrame) -> dict[str, object]:
    summed = frame.groupBy("variant").agg(f.count("*"), f.sum("latency_ms")) if "variant" in frame.columns else None
    late = frame.where(
        "time >= timestamp'2026-09-21 10:13:20.002' AND day >= date'2026-09-21'"
    )  # of ZONE: 14:13:20.002 UTC
    return {
        "types": dict(frame.dtypes),
        "columns": frame.columns,
        "rows": rows_of(frame),
        "by_variant": [list(row) for row in summed.collect()] if summed is not None else [],
        "late": late.count(),
    }


def listed(
    spark: SparkSession, table: Path
) -> tuple[dict[str, object], dict[str, object], dict[str, dict[str, str | None]]]:
    """Protocol, metadata, and the partition values of each file of the latest version."""
    log, after, actions = table / "_delta_log", -1, []
    if (last := log / "_last_checkpoint").is_file():
        after = json.loads(last.read_text())["version"]
        actions += checkpoint(spark, log / f"{after:020}.checkpoint.parquet")
    for path in sorted(log.glob("*.json")):
        if int(path.stem) > after:
            actions += [json.loads(row.value) for row in spark.read.text(str(path)).collect()]
            assert "_corrupt_record" not in spark.read.json(str(path)).columns
    one = {name: next(a[name] for a in reversed(actions) if a.get(name)) for name in ("protocol", "metaData")}
    files: dict[str, dict[str, str | None]] = {}
    for action in actions:
        if action.get("add"):
            files[action["add"]["path"]] = action["add"]["partitionValues"]
            assert not action["add"].get("deletionVector")
        if action.get("remove"):
            files.pop(action["remove"]["path"], None)
    return one["protocol"], one["metaData"], files


def checkpoint(spark: SparkSession, path: Path) -> list[dict[str, object]]:
    frame = spark.read.parquet(str(path))
    wanted = [name for name in ("protocol", "metaData", "add") if name in frame.columns]
    return [json.loads(row[0]) for row in frame.select(f.to_json(f.struct(*wanted))).collect()]


def by_sparks_own_readers(spark: SparkSession, table: Path) -> dict[str, object]:
    protocol, metadata, files = listed(spark, table)
    paths = [str(table / unquote(path)) for path in files]
    schema = StructType.fromJson(json.loads(str(metadata["schemaString"])))
    reader = spark.read.option("basePath", str(table))
    frame = reader.schema(schema).parquet(*paths) if paths else spark.createDataFrame([], schema)
    inferred = {kind for path in paths for kind in spark.read.parquet(path).dtypes}
    partitions = list(files.values())
    return {
        **told(frame.select(schema.names)),
        "protocol": protocol,
        "configuration": metadata["configuration"],
        "inferred": sorted(inferred),
        "partitions": partitions,
        "checkpoint": (table / "_delta_log" / "_last_checkpoint").is_file(),
    }


def main(how: str, tables: list[str]) -> None:
    if how == "spark":
        builder = (
            SparkSession.builder.master("local[1]")
            .config("spark.ui.enabled", "false")
            .config("spark.ui.showConsoleProgress", "false")
        )
        spark = builder.config("spark.sql.session.timeZone", ZONE).getOrCreate()
        found = [by_sparks_own_readers(spark, Path(table)) for table in tables]
    else:
        from pysail.spark import SparkConnectServer

        server = SparkConnectServer("127.0.0.1", 0)
        server.start(background=True)
        spark = SparkSession.builder.remote(f"sc://127.0.0.1:{server.listening_address[1]}").getOrCreate()
        spark.conf.set("spark.sql.session.timeZone", ZONE)
        found = [told(spark.read.format("delta").load(table)) for table in tables]
    print(json.dumps(found))
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
