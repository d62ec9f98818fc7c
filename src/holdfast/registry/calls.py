"""How MLflow is called: quietly, with seconds of patience, and with its failures told in one sentence."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator, Mapping

from holdfast.errors import OutsideError, UserError
from holdfast.registry.uris import without_passwords

# MLflow's own patience is minutes. What the user has set stays.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
DOWNLOADING = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
ABSENT = frozenset(
    {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"}
)  # an unknown alias is the second


@contextlib.contextmanager
def calling(uri: str, what: str | None = None, settings: Mapping[str, str] = PATIENCE) -> Iterator[None]:
    """Call MLflow inside this block.

    Raises UserError where `what` is named and the registry at `uri` says that it does not exist, OutsideError for every
    other failure of MLflow, its database or the network.
    """
    from mlflow.exceptions import MlflowException

    with quietly(settings):
        try:
            yield
        except Exception as error:
            if not isinstance(error, (MlflowException, OSError)) and not is_database_error(error):
                raise
            if what is not None and code_of(error) in ABSENT:
                where = without_passwords(uri)
                raise UserError(f"there is no {what} in {where}: {reason_of(error)}.") from None
            raise unavailable(uri, error) from None


@contextlib.contextmanager
def quietly(settings: Mapping[str, str]) -> Iterator[None]:
    """Without MLflow's warnings and migration logs; environment variables `settings` hold inside, unless set already.

    They are undone afterwards, because a training command inherits our environment and may need more patience.
    """
    ours = {name: value for name, value in settings.items() if name not in os.environ}
    loggers = {logging.getLogger(name): logging.getLogger(name).level for name in ("mlflow", "alembic")}
    os.environ.update(ours)
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)
        for name in ours:
            os.environ.pop(name, None)


def unavailable(uri: str, error: BaseException) -> OutsideError:
    """The registry at `uri` failed with `error`."""
    cause = cause_of(error)
    failed = "cannot be reached" if isinstance(cause, OSError) else "did not answer as expected"
    return OutsideError(
        f"the registry {without_passwords(uri)} {failed}: {reason_of(cause)}.",
        hint="Check the `registry:` URI and that the server runs.",
        reason_code="registry_unavailable",
    )


def reason_of(error: BaseException) -> str:
    """What an error says, on one line without passwords."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return without_passwords(text)[:300].rstrip(".")


def cause_of(error: BaseException) -> BaseException:
    """Of a failed request the innermost cause, else the error itself."""
    if "failed with exception" in str(error):
        while (inner := error.__cause__ or error.__context__) is not None:
            error = inner
    return error


def code_of(error: BaseException) -> str | None:
    """MLflow's error code."""
    return getattr(error, "error_code", None)


def is_database_error(error: BaseException) -> bool:
    """Whether a database or its driver failed; MLflow lets some of these through as they are."""
    return type(error).__module__.split(".")[0] in {
        "sqlalchemy",
        "sqlite3",
        "psycopg2",
        "psycopg",
        "pymysql",
        "MySQLdb",
    }
