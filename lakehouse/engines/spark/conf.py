"""Spark's properties for the catalog of the settings: for the engine's session, and for jobs elsewhere (services.py).

No value is a secret: Iceberg's REST client replaces ``env:NAME`` by the variable NAME of the driver's process.
"""

from __future__ import annotations

from collections.abc import Callable

from lakehouse.catalog import SQLITE_TIMEOUT, nessie_server, s3_endpoint
from lakehouse.engines.spark.versions import SPARK_MINOR, SparkVersion, bundles, iceberg_runtime, s3_sources
from lakehouse.settings import LakehouseSettings

# Times and casts are as in DuckDB, whatever the machine's zone, a service's defaults and Spark's version are.
_SESSION = {
    "spark.sql.session.timeZone": "UTC",
    # sqlglot writes TIMESTAMP for DuckDB's TIMESTAMPTZ.
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
    # What does not fit is an error, not null.
    "spark.sql.ansi.enabled": "true",
    "spark.sql.storeAssignmentPolicy": "ANSI",
}


def spark_properties(settings: LakehouseSettings) -> dict[str, str]:
    """What Spark as Apache builds it needs to have the settings' catalog, under the same name and as its default, and source files on S3.

    Master, memory and addresses are not in it: they are the session's.
    """
    properties = job_properties(settings)
    if settings.backend not in ("aws-glue", "aws-nessie"):
        return properties
    sources = s3_sources()
    properties["spark.jars.packages"] += f",{sources['packages']}"
    return {
        **properties,
        "spark.jars.excludes": sources["excludes"],
        **{f"spark.hadoop.{key}": value for key, value in _s3a(settings).items()},
    }


def job_properties(
    settings: LakehouseSettings, spark_version: SparkVersion = SPARK_MINOR, jars: str | None = None, scala_version: str | None = None
) -> dict[str, str]:
    """What a job needs to have the settings' catalog, where Spark reads other files by itself, as a cloud's services do.

    Args:
        jars: the folder that the jars are in, ``s3://…`` or the like. Without it Spark takes them from Maven Central.
        scala_version: what Spark was built with, if not what this version of it mostly is.
    """
    packages = [iceberg_runtime(spark_version, scala_version), *bundles(settings.backend)]
    return {
        **_jars(packages, jars),
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        **session_properties(settings),
    }


def session_properties(settings: LakehouseSettings) -> dict[str, str]:
    """Those of ``spark_properties`` that a session takes while it runs; jars and extensions are there when Spark starts, or never."""
    name = settings.catalog_name
    catalog = {
        "warehouse": settings.warehouse_uri,
        # A cached table is not read anew while it is used, and others commit, too.
        "cache-enabled": "false",
        **_BACKENDS[settings.backend](settings),
    }
    return {
        **_SESSION,
        "spark.sql.defaultCatalog": name,
        f"spark.sql.catalog.{name}": "org.apache.iceberg.spark.SparkCatalog",
        **{f"spark.sql.catalog.{name}.{key}": value for key, value in catalog.items()},
    }


def spark_secrets(settings: LakehouseSettings) -> dict[str, str]:
    """The variables that the driver's process must have for ``env:NAME`` in the properties. Never to be printed."""
    if settings.backend != "aws-nessie":
        return {}
    secrets = {"NESSIE_TOKEN": settings.nessie_token, "NESSIE_CREDENTIAL": settings.nessie_credential}
    return {name: secret.get_secret_value() for name, secret in secrets.items() if secret}


def _jars(packages: list[str], folder: str | None) -> dict[str, str]:
    if folder is None:
        return {"spark.jars.packages": ",".join(packages)}
    names = [f"{artifact}-{version}.jar" for _, artifact, version in (found.split(":") for found in packages)]
    return {"spark.jars": ",".join(f"{folder.rstrip('/')}/{name}" for name in names)}


def _local(settings: LakehouseSettings) -> dict[str, str]:
    # The database of PyIceberg's SQL catalog: Iceberg's JDBC catalog keeps the same tables in it.
    uri = f"jdbc:sqlite:{settings.warehouse_folder}/catalog.db"
    return {"type": "jdbc", "uri": uri, "jdbc.busy_timeout": str(SQLITE_TIMEOUT * 1000)}


def _aws_glue(settings: LakehouseSettings) -> dict[str, str]:
    catalog_id = {"glue.id": settings.glue_catalog_id} if settings.glue_catalog_id else {}
    return {"type": "glue", **catalog_id, **_s3(settings)}


def _aws_nessie(settings: LakehouseSettings) -> dict[str, str]:
    branch = "" if settings.branch == "main" else f"/{settings.branch}"
    return {
        "type": "rest",
        "uri": f"{nessie_server(settings)}/iceberg{branch}",
        # Where a server signs requests instead of lending credentials: Iceberg 1.12 does not take what Nessie 0.99 answers then.
        "header.X-Iceberg-Access-Delegation": "vended-credentials",
        **_s3(settings),
        **_nessie_login(settings),
    }


def _nessie_login(settings: LakehouseSettings) -> dict[str, str]:
    names = spark_secrets(settings)
    if not names:
        return {}
    login = {
        "rest.auth.type": "oauth2",
        "token": "env:NESSIE_TOKEN" if "NESSIE_TOKEN" in names else None,
        "credential": "env:NESSIE_CREDENTIAL" if "NESSIE_CREDENTIAL" in names else None,
        "oauth2-server-uri": settings.nessie_oauth_uri,
        "scope": settings.nessie_scope,
        # A token without a client's credential cannot be renewed.
        "token-refresh-enabled": None if "NESSIE_CREDENTIAL" in names else "false",
    }
    return {key: value for key, value in login.items() if value}


def _gcp(settings: LakehouseSettings) -> dict[str, str]:
    vended = {"header.X-Iceberg-Access-Delegation": "vended-credentials"} if settings.gcp_credentials == "vended" else {}
    return {
        "type": "rest",
        "uri": settings.rest_uri.rstrip("/"),
        "io-impl": "org.apache.iceberg.gcp.gcs.GCSFileIO",
        "rest.auth.type": "google",
        "header.x-goog-user-project": settings.google_project or "",
        # BigLake takes no reports of metrics.
        "rest-metrics-reporting-enabled": "false",
        **vended,
    }


def _s3(settings: LakehouseSettings) -> dict[str, str]:
    endpoint = s3_endpoint()
    elsewhere = {"s3.endpoint": endpoint, "s3.path-style-access": "true"} if endpoint else {}
    return {"io-impl": "org.apache.iceberg.aws.s3.S3FileIO", "client.region": settings.aws_region or "", **elsewhere}


def _s3a(settings: LakehouseSettings) -> dict[str, str]:
    endpoint = s3_endpoint()
    elsewhere = {"fs.s3a.endpoint": endpoint, "fs.s3a.path.style.access": "true"} if endpoint else {}
    return {
        "fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        # It looks for credentials wherever Iceberg and boto3 do.
        "fs.s3a.aws.credentials.provider": "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider",
        "fs.s3a.endpoint.region": settings.aws_region or "",
        **elsewhere,
    }


_BACKENDS: dict[str, Callable[[LakehouseSettings], dict[str, str]]] = {
    "local": _local,
    "aws-glue": _aws_glue,
    "aws-nessie": _aws_nessie,
    "gcp": _gcp,
}
