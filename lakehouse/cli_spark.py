"""``lakehouse spark-conf``: what Spark needs to have the same tables."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from rich.text import Text

from lakehouse.cli_arguments import Json
from lakehouse.cli_output import ERR, print_json
from lakehouse.settings import LakehouseSettings

app = typer.Typer()


@app.command("spark-conf", epilog="Example: lakehouse spark-conf > spark.conf && spark-submit --properties-file spark.conf job.py")
def spark_conf(
    form: Annotated[
        Literal["properties", "submit", "emr-serverless", "emr-serverless-session", "glue", "dataproc"],
        typer.Option(
            "--format",
            help="properties: a file for spark-submit. submit: its arguments. emr-serverless, emr-serverless-session: JSON for "
            "--configuration-overrides of a job, a session. glue: JSON for --default-arguments. dataproc: gcloud's --properties.",
        ),
    ] = "properties",
    spark_version: Annotated[
        Literal["3.5", "4.0", "4.1"] | None,
        typer.Option(help="The Spark that runs the job. Default: that of the service's newest release, else 4.1."),
    ] = None,
    jars: Annotated[
        str | None, typer.Option(help="A folder with the jars, e.g. s3://<bucket>/jars; without it Spark takes them from Maven Central.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the configuration with which Apache Spark has this catalog and its tables, for these settings.

    No secret is in it: what the environment of Spark must have is told on standard error.
    """
    from lakehouse.engines.spark.conf import spark_secrets
    from lakehouse.engines.spark.services import configuration, configuration_text, notes

    settings = LakehouseSettings.load()
    properties = configuration(settings, form, spark_version, jars)
    if as_json:
        print_json({"properties": properties, "environment": sorted(spark_secrets(settings))})
    else:
        print(configuration_text(properties, form))
    for note in notes(settings, form, jars):
        ERR.print(Text(f"note: {note}", style="yellow"))
