"""Opening MLflow: is it installed, does it answer, and if not, why; within seconds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from holdfast.errors import UserError
from holdfast.registry.calls import PATIENCE, calling, quietly, reason_of, unavailable

_DATABASES = {"sqlite", "postgresql", "mysql", "mssql"}
_CONNECT_SECONDS = 5


def open_client(uri: str) -> Any:
    """An `mlflow.MlflowClient` at the absolute `uri`, which has answered once.

    Raises UserError where mlflow or a database's driver is not installed or the URI cannot be one of a registry, and
    OutsideError where it does not answer.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nobody phones home, nor does what we start
    with quietly({"GIT_PYTHON_REFRESH": "quiet"}):
        try:
            from mlflow import MlflowClient
        except ModuleNotFoundError as error:
            raise _missing(error) from None
    opening = {**PATIENCE, "MLFLOW_HTTP_REQUEST_TIMEOUT": str(_CONNECT_SECONDS)}
    with calling(uri, settings={**opening, **_artifact_root(uri)}):
        _probe(uri)
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_registered_models(max_results=1)
    return client


def _missing(error: ModuleNotFoundError) -> UserError:
    if error.name != "mlflow":
        return UserError(
            f"mlflow is installed but cannot be imported: it needs {error.name}.",
            hint="Type: pip install 'holdfast[mlflow]'",
        )
    return UserError("mlflow is not installed here.", hint="Type: pip install 'holdfast[mlflow]'")


def _probe(uri: str) -> None:
    """Fail now where MLflow would try again for minutes, or with words that do not help."""
    scheme = urlsplit(uri).scheme.split("+")[0]
    if scheme in _DATABASES:
        _probe_database(uri, scheme)
    elif scheme in {"", "file"} and "databricks" not in uri and os.environ.get("MLFLOW_ALLOW_FILE_STORE") is None:
        raise UserError(
            f"the registry {uri} is a folder, which MLflow no longer writes.",
            hint="Use registry: sqlite:///mlflow.db, or the URI of a tracking server.",
        )


def _probe_database(uri: str, scheme: str) -> None:
    """Connect once; MLflow would try ten times, some 100 seconds."""
    try:
        import sqlalchemy
    except ModuleNotFoundError:
        raise UserError(
            f"a registry at {scheme}:// needs the whole of mlflow, not mlflow-skinny.",
            hint="Type: pip install 'holdfast[mlflow]'",
        ) from None
    if scheme == "sqlite":
        _sqlite_file(uri).parent.mkdir(parents=True, exist_ok=True)
    timeouts = {"connect_timeout": _CONNECT_SECONDS} if scheme in {"postgresql", "mysql"} else {}
    question = "PRAGMA schema_version" if scheme == "sqlite" else "SELECT 1"
    try:
        engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool, connect_args=timeouts)
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(question))
    except ModuleNotFoundError as error:
        raise UserError(
            f"a registry at {urlsplit(uri).scheme}:// needs the driver {error.name}, which is not installed.",
            hint="Install it, or name another: postgresql+psycopg2://…, mysql+pymysql://…",
        ) from None
    except sqlalchemy.exc.ArgumentError as error:
        raise UserError(f"the registry's URI cannot be read: {reason_of(error)}.") from None
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise unavailable(uri, getattr(error, "orig", None) or error) from None


def _sqlite_file(uri: str) -> Path:
    return Path(unquote(uri.removeprefix("sqlite:///").split("?")[0]))


def _artifact_root(uri: str) -> dict[str, str]:
    """Where a new sqlite file's default experiment keeps artifacts: beside the file, not where we happen to stand."""
    if not uri.startswith("sqlite:////"):
        return {}
    return {"_MLFLOW_SERVER_ARTIFACT_ROOT": str(_sqlite_file(uri).parent / "mlruns")}
