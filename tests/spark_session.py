"""Real Spark for the tests: one session for each process that runs them, with the tests' own addresses and little memory.

``spark`` is the fixture. Other processes get ``spark.environment``; a session that the engine asks for in this process is the same one.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from needed import unavailable

from lakehouse.engines.spark.versions import bundles, iceberg_runtime, s3_sources

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

JAVA = "17"
TOKEN = "of-the-environment"
# Of a machine that runs several test processes, without a network that knows its name.
_DEFAULTS = {
    "spark.master": "local[2]",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.memory": "1g",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.sql.shuffle.partitions": "2",
    # It lives for minutes, and nothing that it does may depend on the machine's time zone.
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Duser.timezone=Asia/Tokyo",
}
_LOG = """\
rootLogger.level = error
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %p %c{1}: %m%n%ex
"""


class SparkUnavailableError(Exception):
    """PySpark or its Java is not here."""


@dataclass(frozen=True)
class Spark:
    """A session, and the variables with which another process starts one like it."""

    session: SparkSession
    environment: dict[str, str]

    def properties(self, path: Path) -> dict[str, str]:
        """A file for ``--properties-file``, as Spark reads it."""
        entries = self.session._jvm.org.apache.spark.util.Utils.getPropertiesFromFile(str(path)).iterator()  # type: ignore[union-attr]
        found: dict[str, str] = {}
        while entries.hasNext():
            entry = entries.next()
            found[str(entry._1())] = str(entry._2())
        return found

    def versions(self) -> dict[str, str]:
        """Of what Spark runs with."""
        jvm = self.session._jvm
        return {
            "Spark": self.session.version,
            "Hadoop": jvm.org.apache.hadoop.util.VersionInfo.getVersion(),  # type: ignore[union-attr]
            "AWS SDK": jvm.software.amazon.awssdk.core.util.VersionInfo.SDK_VERSION,  # type: ignore[union-attr]
        }


def java_home() -> Path:
    """A Java that Spark runs on: JAVA_HOME's, or one of the machine's. Raises SparkUnavailableError."""
    candidates = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    for home in [*candidates, *sorted(Path("/usr/lib/jvm").glob("*"))]:
        release = home / "release"
        if release.is_file() and re.search(rf'^JAVA_VERSION="{JAVA}[."]', release.read_text(), re.MULTILINE):
            return home
    raise SparkUnavailableError(f"There is no Java {JAVA}. Install it (openjdk-{JAVA}-jre-headless), or set JAVA_HOME to it.")


def spark_environment(folder: Path) -> dict[str, str]:
    """The variables with which Spark runs here. ``folder`` gets its configuration and files. Raises SparkUnavailableError."""
    if importlib.util.find_spec("pyspark") is None:
        raise SparkUnavailableError("PySpark is not installed: make spark")
    home = java_home()
    defaults = {**_DEFAULTS, "spark.local.dir": f"{folder}/local", "spark.sql.warehouse.dir": f"file://{folder}/spark-warehouse"}
    (folder / "spark-defaults.conf").write_text("".join(f"{key} {value}\n" for key, value in defaults.items()))
    (folder / "log4j2.properties").write_text(_LOG)
    return {
        "JAVA_HOME": str(home),
        "SPARK_CONF_DIR": str(folder),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        # The JVM sees no variable that a test sets later: a token for Nessie, and what the tests' AWS takes.
        "NESSIE_TOKEN": TOKEN,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spark]:
    """Spark with the jars of every backend that tests use, and no catalog yet."""
    try:
        environment = spark_environment(tmp_path_factory.mktemp("spark"))
    except SparkUnavailableError as error:
        unavailable(error)
    from pyspark.sql import SparkSession

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SPARK_HOME", raising=False)
        patch.delenv("SPARK_REMOTE", raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        session = (
            SparkSession.builder.master("local[2]")
            .config(
                "spark.jars.packages", ",".join([iceberg_runtime(), *bundles("local"), *bundles("aws-nessie"), s3_sources()["packages"]])
            )
            .config("spark.jars.excludes", s3_sources()["excludes"])
            .config("spark.sql.extensions", "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions")
            .getOrCreate()
        )
        yield Spark(session, environment)
        session.stop()
