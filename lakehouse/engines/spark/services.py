"""Spark's properties in the words of whoever takes them: spark-submit, and the services that run Spark in a cloud."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from lakehouse.catalog import check_branch
from lakehouse.engines.spark.conf import job_properties, spark_properties, spark_secrets
from lakehouse.engines.spark.versions import SPARK_MINOR, SparkVersion
from lakehouse.errors import SettingsError
from lakehouse.settings import LakehouseSettings

Form = Literal["properties", "submit", "emr-serverless", "emr-serverless-session", "glue", "dataproc"]


class Service(NamedTuple):
    """A service of a cloud.

    Attributes:
        backends: whose tables it reaches.
        store: how a folder begins from which it takes jars.
        spark_version: of its newest release.
        scala: what its Spark 3.5 is built with.
        secret: how a job is given a variable of the driver's environment; empty where it cannot be, or need not.
    """

    name: str
    backends: tuple[str, ...]
    store: str
    spark_version: SparkVersion
    scala: str
    secret: str


_AWS = ("aws-glue", "aws-nessie")
_EMR = Service("EMR Serverless", _AWS, "s3://", "4.1", "2.12", "spark.emr-serverless.driverEnv.{} = EMR.secret@<its secret>")
SERVICES: dict[Form, Service] = {
    "emr-serverless": _EMR,
    "emr-serverless-session": _EMR,
    "glue": Service("Glue", _AWS, "s3://", "3.5", "2.12", ""),
    "dataproc": Service("Dataproc Serverless", ("gcp",), "gs://", "4.0", "2.13", ""),
}


def configuration(
    settings: LakehouseSettings, form: Form, spark_version: SparkVersion | None = None, jars: str | None = None
) -> dict[str, str]:
    """The properties for a job that is submitted as ``form`` says.

    Args:
        spark_version: default: that of the service's newest release; without a service, that of the extra [spark], which then also
            reads source files on S3.
        jars: the folder of a store that the jars are in; without it Spark takes them from Maven Central.

    Raises:
        SettingsError: the backend has no branches, and one is set; the service does not reach its tables, or cannot be given what
            they need.
    """
    check_branch(settings)
    service = SERVICES.get(form)
    if service is None:
        plain = jars is None and spark_version in (None, SPARK_MINOR)
        return spark_properties(settings) if plain else job_properties(settings, spark_version or SPARK_MINOR, jars)
    if settings.backend not in service.backends:
        wanted = " or ".join(service.backends)
        raise SettingsError(
            f"{service.name} does not reach the tables of the backend {settings.backend}. Set LAKEHOUSE_BACKEND to {wanted}."
        )
    if jars is not None and not jars.startswith(service.store):
        raise SettingsError(f"{service.name} takes jars from {service.store}…, and not from {jars!r}.")
    if form == "glue" and jars is None:
        raise SettingsError("Glue takes no jars from Maven Central. Copy them to S3 and add --jars s3://<bucket>/<folder>.")
    if (names := sorted(spark_secrets(settings))) and not service.secret:
        raise SettingsError(f"A job of {service.name} cannot be given {' and '.join(names)} in its environment. Use EMR Serverless.")
    version = spark_version or service.spark_version
    return job_properties(settings, version, jars, service.scala if version == "3.5" else None)


def configuration_text(properties: Mapping[str, str], form: Form) -> str:
    """The properties as ``form`` says, without a line break at the end. Raises SettingsError where it has no way to say one."""
    return _FORMS[form](properties)


def notes(settings: LakehouseSettings, form: Form, jars: str | None = None) -> list[str]:
    """What a job needs that the properties do not give it."""
    service = SERVICES.get(form)
    found = [
        f"The environment of Spark's driver must have {name}" + (f": {service.secret.format(name)}" if service else ".")
        for name in sorted(spark_secrets(settings))
    ]
    if service and jars is None:
        found.append(
            f"The job takes its jars from Maven Central: give it a network from which that can be reached, or --jars {service.store}…"
        )
    return found


def _properties(properties: Mapping[str, str]) -> str:
    return "\n".join(f"{key} {value}".replace("\\", "\\\\") for key, value in properties.items())


def _submit(properties: Mapping[str, str]) -> str:
    return " ".join(f"--conf {shlex.quote(f'{key}={value}')}" for key, value in properties.items())


def _emr_job(properties: Mapping[str, str]) -> str:
    return json.dumps({"applicationConfiguration": _classified(properties)}, indent=2)


def _emr_session(properties: Mapping[str, str]) -> str:
    return json.dumps({"runtimeConfiguration": _classified(properties)}, indent=2)


def _classified(properties: Mapping[str, str]) -> list[dict[str, object]]:
    return [{"classification": "spark-defaults", "properties": dict(properties)}]


def _glue(properties: Mapping[str, str]) -> str:
    # One argument has all properties, and nothing in it can be quoted. Jars have an argument of their own.
    said = [f"{key}={value}" for key, value in properties.items() if key != "spark.jars"]
    if spaced := [text for text in said if re.search(r"\s", text)]:
        raise SettingsError(f"Glue takes no property with a space in it: {'; '.join(spaced)}")
    return json.dumps({"--conf": " --conf ".join(said), "--extra-jars": properties["spark.jars"], "--user-jars-first": "true"}, indent=2)


def _dataproc(properties: Mapping[str, str]) -> str:
    # gcloud splits at commas, which values have, unless another separator is named first.
    return "^#^" + "#".join(f"{key}={value}" for key, value in properties.items())


_FORMS: dict[Form, Callable[[Mapping[str, str]], str]] = {
    "properties": _properties,
    "submit": _submit,
    "emr-serverless": _emr_job,
    "emr-serverless-session": _emr_session,
    "glue": _glue,
    "dataproc": _dataproc,
}
