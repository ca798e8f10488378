"""Real Spark with what `lakehouse spark-conf` prints: its tables are PyIceberg's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from command_line import run_command
from nessie_server import NessieProxy
from spark_session import TOKEN

from lakehouse.branches import open_client
from lakehouse.engines.spark import versions
from lakehouse.engines.spark.conf import session_properties
from lakehouse.settings import LakehouseSettings

if TYPE_CHECKING:
    from conftest import Lakehouse
    from spark_session import Spark

pytestmark = pytest.mark.spark

BACKENDS = ["local", "aws-nessie"]
EVENTS = """\
    name: events
    namespace: lake
    columns:
      - {name: id, type: long, required: true}
      - {name: at, type: timestamptz}
      - {name: local_time, type: timestamp}
      - {name: price, type: "decimal(9,2)"}
    identifier: [id]
    partition_spec: [{column: at, transform: day}]
    sort_order: [{column: id}]
    pipeline:
      pattern: event_stream
      source: {path: "${LAKEHOUSE_LANDING}/", format: jsonl}
"""
LINE = '{"id": %d, "at": "2024-01-01T23:30:00Z", "local_time": "2024-01-01T12:00:00", "price": "1.50"}\n'
SELECT = "SELECT id, string(at), string(local_time), string(price) FROM lake.events ORDER BY id"


@pytest.fixture
def proxy(request: pytest.FixtureRequest, lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> Iterator[NessieProxy | None]:
    """On Nessie: a branch of its own, and a proxy that sees how Spark logs in."""
    if lakehouse.settings.backend != "aws-nessie":
        yield None
        return
    open_client(lakehouse.settings).create("dev", "main")
    with NessieProxy(lakehouse.settings.nessie_uri or "") as found:
        for name, value in {"LAKEHOUSE_BRANCH": "dev", "NESSIE_URI": found.uri, "NESSIE_TOKEN": TOKEN}.items():
            monkeypatch.setenv(name, value)
        lakehouse.settings = LakehouseSettings.load()
        yield found


def test_spark_reads_and_writes_the_tables_with_the_printed_configuration(
    lakehouse: Lakehouse, proxy: NessieProxy | None, spark: Spark, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from pyspark.errors import ArithmeticException

    template = lakehouse.template(EVENTS)
    lakehouse.land("1.jsonl", LINE % 1)
    lakehouse.run(template)
    code, printed, notes = run_command(capsys, "spark-conf")
    assert code == 0
    assert TOKEN not in printed + notes
    (tmp_path / "spark.conf").write_text(printed)
    properties = spark.properties(tmp_path / "spark.conf")
    packages, extensions = properties.pop("spark.jars.packages"), properties.pop("spark.sql.extensions")
    assert spark.versions() == {"Spark": versions.SPARK, "Hadoop": versions.HADOOP, "AWS SDK": versions.AWS_SDK}
    assert set(packages.split(",")) <= set(spark.session.conf.get("spark.jars.packages").split(","))
    assert extensions == spark.session.conf.get("spark.sql.extensions")
    hadoop = {name: properties.pop(name) for name in list(properties) if name.startswith("spark.hadoop.")}
    assert properties.pop("spark.jars.excludes", None) in (None, spark.session.conf.get("spark.jars.excludes"))
    assert properties == session_properties(lakehouse.settings)
    if proxy is not None:
        proxy.reset()
    session = spark.session.newSession()
    for name, value in properties.items():
        session.conf.set(name, value)

    assert [tuple(row) for row in session.sql(SELECT).collect()] == [(1, "2024-01-01 23:30:00", "2024-01-01 12:00:00", "1.50")]
    if proxy is not None:
        assert proxy.calls[0].name.startswith("GET /iceberg/dev/v1/config")
        headers = {name.lower(): value for name, value in proxy.calls[0].headers.items()}
        assert headers["authorization"] == f"Bearer {TOKEN}"
        assert headers["x-iceberg-access-delegation"] == "vended-credentials"
        # Hadoop's file system, for source files.
        boto3.client("s3").put_object(Bucket="warehouse", Key="landing/a b.jsonl", Body=LINE % 7)
        for name, value in hadoop.items():
            session.conf.set(name.removeprefix("spark.hadoop."), value)
        assert [row["id"] for row in session.read.json("s3://warehouse/landing/").collect()] == [7]
    session.sql("INSERT INTO lake.events VALUES (2, TIMESTAMP'2024-01-02 00:30:00', TIMESTAMP_NTZ'2024-01-02 13:00:00', 2.5)")
    rows = sorted(lakehouse.rows("lake.events").to_pylist(), key=lambda row: row["id"])
    assert [(row["id"], row["at"].isoformat(), row["local_time"].isoformat(), str(row["price"])) for row in rows] == [
        (1, "2024-01-01T23:30:00+00:00", "2024-01-01T12:00:00", "1.50"),
        (2, "2024-01-02T00:30:00+00:00", "2024-01-02T13:00:00", "2.50"),
    ]
    # The partition of UTC's day, as PyIceberg has it, and not of the machine's.
    assert sorted(str(row["partition"]) for row in lakehouse.table("lake.events").inspect.files().to_pylist()) == [
        "{'at_day': datetime.date(2024, 1, 1)}",
        "{'at_day': datetime.date(2024, 1, 2)}",
    ]
    # What others commit is seen at once, and a value that does not fit is an error.
    lakehouse.land("3.jsonl", LINE % 3)
    lakehouse.run(template)
    assert session.table("lake.events").count() == 3
    with pytest.raises(ArithmeticException, match="NUMERIC_VALUE_OUT_OF_RANGE"):
        session.sql("SELECT CAST(12345678901 AS DECIMAL(9, 2))").collect()
