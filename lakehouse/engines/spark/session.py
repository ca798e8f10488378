"""The session of Spark: that of a Spark Connect server, or one of this process, which several runs share.

Nothing that a session does is seen before this process commits it, so work whose session is lost is begun again in a new one.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from lakehouse.catalog import require_extra
from lakehouse.engines import Progress
from lakehouse.engines.spark.conf import session_properties, spark_properties, spark_secrets
from lakehouse.errors import LakehouseError, SparkError
from lakehouse.settings import LakehouseSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_ATTEMPTS = 3
_CAUSES = 8
# Seconds for a process that does not answer any more to end.
_LAST_BREATH = 2.0
_CONNECT_PORT = 15002
_CONNECT_TIMEOUT = 20.0
# Seconds between two lines of progress.
_PROGRESS = 15.0
# Memory that Spark's driver has beside that for rows.
_BESIDE = 1024**3
# Of a local session. Rows are never handed to Python, so its own share of the memory is small.
_LOCAL = {
    "spark.ui.showConsoleProgress": "false",
    # Its pages show SQL, with keys in it, to whoever reaches the machine.
    "spark.ui.enabled": "false",
    # Its errors show values.
    "spark.log.level": "OFF",
    "spark.driver.maxResultSize": "0",
}
# How errors of a session that is gone are told: a JVM that ended, a server that was started anew or does not know the session any more.
_LOST = (
    "Answer from Java side is empty",
    "Connection refused",
    "Error while sending or receiving",
    "An error occurred while trying to connect to the Java server",
    "SparkContext was shut down",
    "SparkContext has been shutdown",
    "Cannot call methods on a stopped SparkContext",
    "StatusCode.UNAVAILABLE",
    "INVALID_HANDLE.SESSION",
    "SESSION_NOT_FOUND",
    "SESSION_CLOSED",
    "SESSION_CHANGED",
    "NO_ACTIVE_SESSION",
)

Result = TypeVar("Result")
# Runs in threads share a process.
_ONE_AT_A_TIME = threading.RLock()
_SESSIONS: dict[tuple[object, ...], SparkSession] = {}


def in_session(settings: LakehouseSettings, progress: Progress, work: Callable[[SparkSession], Result]) -> Result:
    """What ``work`` does with a session. Where the session is lost meanwhile, it is done again with a new one.

    Raises:
        MissingExtraError: without the extra [spark]; SparkError: no session can be had, or a job failed; what ``work`` raises.
    """
    require_extra("pyspark", "spark", "LAKEHOUSE_ENGINE=spark")
    require_extra("sqlglot", "spark", "LAKEHOUSE_ENGINE=spark")
    # PySpark writes the message of every error to standard error, with the values that it is about.
    logging.getLogger("SQLQueryContextLogger").disabled = True
    for attempt in range(1, _ATTEMPTS + 1):
        session = _open(settings)
        try:
            with _told(session, progress):
                return work(session)
        except LakehouseError:
            raise
        except Exception as error:
            if not is_lost(error):
                # Dagster shows what caused an error, too.
                raise explained(error) from None
            _forget(session)
            if attempt == _ATTEMPTS:
                remedy = "See Spark's own log; where its driver ran out of memory, raise LAKEHOUSE_WRITE_MEMORY."
                raise SparkError(
                    f"The Spark session was lost {_ATTEMPTS} times ({type(error).__name__}). Nothing was written. {remedy}"
                ) from None
            progress(f"The Spark session was lost ({type(error).__name__}); attempt {attempt + 1} of {_ATTEMPTS} with a new one")
    raise AssertionError


def is_lost(error: BaseException) -> bool:
    """Whether an error says that the session is gone, and not that what it was asked for is wrong."""
    name, text = type(error).__name__, str(error)
    if name in ("Py4JNetworkError", "ConnectionRefusedError", "ConnectionResetError") or any(found in text for found in _LOST):
        return True
    # Of a JVM that is gone PySpark may say that it has no such class.
    return name == "Py4JError" and _jvm_has_ended()


def _jvm_has_ended() -> bool:
    from pyspark import SparkContext

    process = getattr(SparkContext._gateway, "proc", None)
    try:
        return process is not None and process.wait(timeout=_LAST_BREATH) is not None
    except subprocess.TimeoutExpired:
        return False


def condition_of(error: BaseException) -> str:
    """What is wrong by its name alone: Spark's, e.g. ``CAST_OVERFLOW``, or those of the exceptions, down to the first cause."""
    for name in ("getCondition", "getErrorClass"):
        with suppress(Exception):
            if found := getattr(error, name)():
                return str(found)
    names, cause = [type(error).__name__], getattr(error, "java_exception", None)
    with suppress(Exception):
        while cause is not None and len(names) < _CAUSES:
            names.append(str(cause.getClass().getSimpleName()))
            cause = cause.getCause()
    return ": ".join(dict.fromkeys(names))


def explained(error: Exception) -> SparkError:
    """What failed, without Spark's message: that may show values of rows."""
    if "OutOfMemoryError" in str(error):
        return SparkError("Spark ran out of memory. Raise LAKEHOUSE_WRITE_MEMORY, or on a cluster the memory of its executors.")
    return SparkError(f"Spark failed: {condition_of(error)}. Its message may show values, and is left out.")


def _open(settings: LakehouseSettings) -> SparkSession:
    """The session for the settings' catalog, made if there is none."""
    properties = spark_properties(settings)
    key = (settings.spark_remote, settings.spark_master, *sorted(properties.items()))
    with _ONE_AT_A_TIME:
        if key in _SESSIONS:
            return _SESSIONS[key]
        try:
            # A catalog that a session opened stays as it is, so every other configuration of it has a session of its own.
            session = _new_session(settings, properties)
            for name, value in session_properties(settings).items():
                session.conf.set(name, value)
        except Exception as error:
            raise _no_session(settings, error) from None
        _SESSIONS[key] = session
        return session


def _new_session(settings: LakehouseSettings, properties: dict[str, str]) -> SparkSession:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    if settings.spark_remote is not None:
        remote = settings.spark_remote.get_secret_value()
        _knock(remote)
        return SparkSession.builder.remote(remote).create()
    # What the properties refer to by ``env:``, the JVM has from this process; a .env file may be where it is from.
    os.environ.update(spark_secrets(settings))
    builder = SparkSession.builder.master(settings.spark_master).appName("lakehouse")
    memory = {"spark.driver.memory": f"{(settings.write_memory + _BESIDE) // 1024**2}m"}
    if SparkContext._active_spark_context is None:  # else they would become those of the first session
        for name, value in {**_LOCAL, **memory, **properties}.items():
            builder = builder.config(name, value)
    return builder.getOrCreate().newSession()


def _knock(remote: str) -> None:
    """Raises OSError where nobody listens at a server's address: PySpark would try for many minutes."""
    address = urlsplit(remote)
    if address.scheme == "sc" and address.hostname:
        socket.create_connection((address.hostname, address.port or _CONNECT_PORT), timeout=_CONNECT_TIMEOUT).close()


def _no_session(settings: LakehouseSettings, error: Exception) -> SparkError:
    # Without the error's text: a server's URL may hold a token.
    if settings.spark_remote is not None:
        remedy = "Is it running, and is its version that of the extra [spark]?"
        return SparkError(f"The Spark server of SPARK_REMOTE cannot be used ({condition_of(error)}). {remedy}")
    remedy = "Spark needs Java 17: set JAVA_HOME to it. The first time it downloads Iceberg's jars from Maven Central."
    return SparkError(f"Spark does not start on {settings.spark_master} ({condition_of(error)}). {remedy}")


def _forget(session: SparkSession) -> None:
    """Lets a session go that is lost, and those that it shares Spark with, so that the next is a new one."""
    with _ONE_AT_A_TIME:
        if session not in _SESSIONS.values():
            return  # another thread did so
        _SESSIONS.clear()
        _stop(session)


def _stop(session: SparkSession) -> None:
    with suppress(Exception):
        session.stop()
    if type(session).__module__.startswith("pyspark.sql.connect"):
        return
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    # PySpark keeps the connection to a JVM that is gone.
    gateway = SparkContext._gateway
    if gateway is not None:
        with suppress(Exception):
            gateway.shutdown()
    SparkContext._gateway = SparkContext._jvm = SparkContext._active_spark_context = None
    SparkSession._instantiatedSession = None


@contextmanager
def _told(session: SparkSession, progress: Progress) -> Iterator[None]:
    """Meanwhile tells what Spark is at."""
    if type(session).__module__.startswith("pyspark.sql.connect"):
        with _told_by_server(session, progress):
            yield
        return
    done = threading.Event()

    def tell() -> None:
        tracker = session.sparkContext.statusTracker()
        while not done.wait(_PROGRESS):
            with suppress(Exception):
                stages = [found for stage in tracker.getActiveStageIds() if (found := tracker.getStageInfo(stage)) is not None]
                finished, total = sum(found.numCompletedTasks for found in stages), sum(found.numTasks for found in stages)
                if total:
                    progress(f"Spark: {finished:,} of {total:,} tasks of {len(stages)} stages")

    thread = threading.Thread(target=tell, name="spark-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def _told_by_server(session: Any, progress: Progress) -> Iterator[None]:
    last = time.monotonic()

    def tell(stages: Any, inflight_tasks: int, operation_id: Any, done: bool) -> None:  # noqa: ARG001
        nonlocal last
        if not done and stages and time.monotonic() - last >= _PROGRESS:
            last = time.monotonic()
            finished, total = sum(stage.num_completed_tasks for stage in stages), sum(stage.num_tasks for stage in stages)
            progress(f"Spark: {finished:,} of {total:,} tasks of {len(stages)} stages")

    session.registerProgressHandler(tell)
    try:
        yield
    finally:
        session.removeProgressHandler(tell)
