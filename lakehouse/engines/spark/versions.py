"""The versions of Apache Spark, and of the jars that go with it.

Iceberg has a runtime for each minor version of Spark and its version of Scala, and Spark runs with no other: so Spark is
pinned to the newest that has one, and pyproject.toml pins PySpark to the same. The bundles bring the clients of AWS and of
Google Cloud; they must be of the runtime's version, since they share its classes. All of it runs on Java 17.

Source files are not read by Iceberg, but by Hadoop's file systems, and the one for S3 is none of Spark's. It is of the version
of Spark's Hadoop. All of AWS's client that it would bring (600 MB) is left out but for two parts that Iceberg's bundle does
not have; they are of the version of the client in the bundle.
"""

from __future__ import annotations

from typing import Literal, get_args

SparkVersion = Literal["4.1", "4.0", "3.5"]

SPARK = "4.1.4"
ICEBERG = "1.12.0"
SQLITE_JDBC = "3.54.1.0"
HADOOP = "3.4.2"
AWS_SDK = "2.54.17"

SPARK_MINOR: SparkVersion = get_args(SparkVersion)[0]


def iceberg_runtime(spark_version: SparkVersion = SPARK_MINOR, scala_version: str | None = None) -> str:
    """The runtime's Maven coordinates. ``scala_version``: what Spark was built with, if not what it is mostly built with."""
    scala = scala_version or ("2.12" if spark_version == "3.5" else "2.13")
    return f"org.apache.iceberg:iceberg-spark-runtime-{spark_version}_{scala}:{ICEBERG}"


def bundles(backend: str) -> list[str]:
    """The Maven coordinates of what a backend's catalog and files need beside the runtime."""
    if backend == "local":
        return [f"org.xerial:sqlite-jdbc:{SQLITE_JDBC}"]
    return [f"org.apache.iceberg:iceberg-{'gcp' if backend == 'gcp' else 'aws'}-bundle:{ICEBERG}"]


def s3_sources() -> dict[str, str]:
    """What Spark of ``SPARK`` needs to read source files on S3 beside the AWS bundle: Maven coordinates, and what they must not bring."""
    sdk = "software.amazon.awssdk"
    parts = [f"{sdk}:{part}:{AWS_SDK}" for part in ("apache-client", "s3-transfer-manager")]
    # All others of the group: these are patterns of names.
    left_out = [
        *(f"{sdk}:{part}" for part in ("a[a-oq-z]*", "[b-r]*", "s3", "s[a-z]*", "[t-z]*")),
        f"{sdk}.crt:*",
        "software.amazon.eventstream:*",
    ]
    return {"packages": ",".join([f"org.apache.hadoop:hadoop-aws:{HADOOP}", *parts]), "excludes": ",".join(left_out)}
