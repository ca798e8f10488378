"""Every environment variable the project reads, in one class."""

from __future__ import annotations

import difflib
import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

from dotenv import dotenv_values
from pydantic import AwareDatetime, ByteSize, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from lakehouse.errors import SettingsError
from lakehouse.pipelines import VARIABLE

PROJECT_ROOT = Path(__file__).resolve().parent.parent
Backend = Literal["local", "aws-glue", "aws-nessie", "gcp"]
_MIB = 1024 * 1024
_POLICY_TAG = r"^projects/[^/\s]+/locations/[^/\s]+/taxonomies/[^/\s]+/policyTags/[^/\s]+$"
# Nessie's rule, but for the slash: the name is a part of the catalog's URL.
BRANCH_NAME = re.compile(r"[A-Za-z](?!.*\.\.)[A-Za-z0-9._-]*(?<!\.)")
BRANCH_RULE = "a branch's name is a letter, followed by letters, digits, and . _ or -, with no slash, and no dot at its end."


class LakehouseSettings(BaseSettings):
    """What a deployment sets, by environment variable or in a ``.env`` file of the working directory.

    Relative defaults are below the project's folder, relative values below the working directory.
    """

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True)

    backend: Backend = Field(
        "local", validation_alias="LAKEHOUSE_BACKEND", description="Which catalog: local, aws-glue, aws-nessie or gcp."
    )
    warehouse: str = Field(
        str(PROJECT_ROOT / "data" / "warehouse"),
        validation_alias="LAKEHOUSE_WAREHOUSE",
        description="Where tables are: a folder for local, s3://… for aws-*, gs://… for gcp.",
    )
    landing: str = Field(
        str(PROJECT_ROOT / "data" / "landing"),
        validation_alias="LAKEHOUSE_LANDING",
        description="Where source files arrive; templates refer to it as ${LAKEHOUSE_LANDING}.",
    )
    templates: Path = Field(
        PROJECT_ROOT / "table-templates", validation_alias="LAKEHOUSE_TEMPLATES", description="The folder with the templates."
    )
    checks: Path = Field(
        PROJECT_ROOT / "quality" / "soda_checks",
        validation_alias="LAKEHOUSE_CHECKS",
        description="The folder with the tables' SodaCL files, <table>_checks.yaml.",
    )
    repository_url: str | None = Field(
        None,
        pattern=r"^https?://",
        validation_alias="LAKEHOUSE_REPOSITORY_URL",
        description="Where the repository's files are read, https://github.com/<owner>/<name>/blob/main: pages and Dagster link to it.",
    )
    scans: Literal["cloud", "local"] = Field(
        "cloud",
        validation_alias="LAKEHOUSE_SCANS",
        description="aws-glue, gcp: what Soda's checks query: cloud, Athena or BigQuery; local, DuckDB, to which columns are copied.",
    )
    scan_timeout: float = Field(
        1800,
        gt=0,
        allow_inf_nan=False,
        validation_alias="LAKEHOUSE_SCAN_TIMEOUT",
        description="Seconds after which the Soda scan of one table is ended.",
    )
    freshness_now: AwareDatetime | None = Field(
        None,
        validation_alias="LAKEHOUSE_FRESHNESS_NOW",
        description="The moment at which tables are to be fresh, with its zone, for data of the past: 2024-01-03T00:00Z. Default: now.",
    )
    catalog_name: str = Field(
        "lakehouse", validation_alias="LAKEHOUSE_CATALOG", description="The catalog's name, the same for every engine."
    )
    engine: Literal["embedded", "spark"] = Field(
        "embedded",
        validation_alias="LAKEHOUSE_ENGINE",
        description="What reads and writes the rows of pipelines: embedded, this process; spark, Apache Spark (extra [spark]).",
    )
    spark_remote: SecretStr | None = Field(
        None,
        validation_alias="SPARK_REMOTE",
        description="The Spark Connect server, sc://host:15002; without it Spark runs in this process, by LAKEHOUSE_SPARK_MASTER.",
    )
    spark_master: str = Field(
        "local[*]", validation_alias="LAKEHOUSE_SPARK_MASTER", description="Where Spark runs without SPARK_REMOTE, e.g. local[4] or yarn."
    )
    write_memory: ByteSize = Field(
        ByteSize(1024 * _MIB),
        ge=64 * _MIB,
        validation_alias="LAKEHOUSE_WRITE_MEMORY",
        description="The memory a run may hold rows in, e.g. 512MiB. A sorted file holds at most a quarter of it, uncompressed.",
    )
    commit_timeout: float = Field(
        600, gt=0, validation_alias="LAKEHOUSE_COMMIT_TIMEOUT", description="Seconds for which a commit is tried again on conflicts."
    )
    schedules: Literal["running", "stopped"] = Field(
        "running",
        validation_alias="LAKEHOUSE_SCHEDULES",
        description="Whether Dagster's schedules start by themselves: running, or stopped until somebody starts them.",
    )
    drift_sensor: Literal["running", "stopped"] = Field(
        "running",
        validation_alias="LAKEHOUSE_DRIFT_SENSOR",
        description="Whether Dagster's drift sensor starts by itself: running, or stopped until somebody starts it.",
    )
    maintenance_schedule: Literal["running", "stopped"] = Field(
        "running",
        validation_alias="LAKEHOUSE_MAINTENANCE_SCHEDULE",
        description="Whether Dagster's maintenance schedule starts by itself: running, or stopped until somebody starts it.",
    )
    maintenance_cron: str = Field(
        "30 2 * * *", validation_alias="LAKEHOUSE_MAINTENANCE_CRON", description="When it maintains the tables: five fields, UTC."
    )
    # A day at least: a run that writes for longer would lose files that it is still to commit.
    orphan_age_hours: float = Field(
        72,
        ge=24,
        le=87600,
        allow_inf_nan=False,
        validation_alias="LAKEHOUSE_ORPHAN_AGE_HOURS",
        description="Hours after which a file that nothing names is an orphan, 24 at least, and more than the longest run takes.",
    )
    # Less than a tick of the sensor has for all tables: one that hangs is to be told, not to be out of time for ever.
    drift_table_timeout: float = Field(
        10,
        gt=0,
        le=30,
        allow_inf_nan=False,
        validation_alias="LAKEHOUSE_DRIFT_TABLE_TIMEOUT",
        description="Seconds that the drift check waits for one table, 30 at most.",
    )
    drift_repeat_hours: float = Field(
        24,
        ge=0,
        le=8760,
        allow_inf_nan=False,
        validation_alias="LAKEHOUSE_DRIFT_REPEAT_HOURS",
        description="Hours after which a drift that lasts is alerted again, 8760 at most; 0: never.",
    )
    slack_webhook: SecretStr | None = Field(
        None, validation_alias="LAKEHOUSE_SLACK_WEBHOOK", description="Where drift alerts go: the URL of a Slack incoming webhook."
    )
    sns_topic: str | None = Field(
        None,
        pattern=r"^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+$",
        validation_alias="LAKEHOUSE_SNS_TOPIC",
        description="Where drift alerts go: the ARN of an SNS topic (a standard one, not FIFO).",
    )
    aws_region: str | None = Field(None, validation_alias="AWS_REGION", description="aws-*: the region of bucket and catalog.")
    glue_catalog_id: str | None = Field(
        None,
        validation_alias="GLUE_CATALOG_ID",
        description="aws-glue: the catalog's account, if another. aws-nessie: the account whose Glue entries follow main.",
    )
    reader_role: str | None = Field(
        None,
        validation_alias="LAKEHOUSE_READER_ROLE",
        description="Who reads: the ARN of a role on aws-*, the e-mail of a service account on gcp; Terraform's output.",
    )
    writer_role: str | None = Field(
        None,
        validation_alias="LAKEHOUSE_WRITER_ROLE",
        description="What pipelines run as: the ARN of a role on aws-*, the e-mail of a service account on gcp; Terraform's output.",
    )
    admin_role: str | None = Field(
        None,
        validation_alias="LAKEHOUSE_ADMIN_ROLE",
        description="Who runs `lakehouse apply`: the ARN of a role on aws-*, the e-mail of a service account on gcp; Terraform's output.",
    )
    athena_workgroup: str | None = Field(
        None, validation_alias="LAKEHOUSE_ATHENA_WORKGROUP", description="aws-glue: where Soda's queries run; Terraform's output."
    )
    athena_results: str | None = Field(
        None,
        validation_alias="LAKEHOUSE_ATHENA_RESULTS",
        description="aws-glue: where that workgroup's results go, s3://…; Terraform's output.",
    )
    nessie_uri: str | None = Field(None, validation_alias="NESSIE_URI", description="aws-nessie: the server, without /iceberg.")
    branch: str = Field("main", validation_alias="LAKEHOUSE_BRANCH", description="aws-nessie: the branch that everything reads and writes.")
    nessie_token: SecretStr | None = Field(None, validation_alias="NESSIE_TOKEN", description="aws-nessie: a bearer token.")
    nessie_credential: SecretStr | None = Field(
        None, validation_alias="NESSIE_CREDENTIAL", description="aws-nessie: OAuth client, id:secret."
    )
    nessie_oauth_uri: str | None = Field(None, validation_alias="NESSIE_OAUTH_URI", description="aws-nessie: the OAuth token endpoint.")
    nessie_scope: str | None = Field(None, validation_alias="NESSIE_SCOPE", description="aws-nessie: the OAuth scope.")
    rest_uri: str = Field(
        "https://biglake.googleapis.com/iceberg/v1/restcatalog",
        validation_alias="ICEBERG_REST_URI",
        description="gcp: the Iceberg REST catalog.",
    )
    google_project: str | None = Field(None, validation_alias="GOOGLE_CLOUD_PROJECT", description="gcp: the project that is billed.")
    google_location: str | None = Field(
        None, validation_alias="GOOGLE_CLOUD_LOCATION", description="gcp: where BigQuery's datasets are, e.g. EU; else BigQuery finds out."
    )
    gcp_credentials: Literal["vended", "own"] = Field(
        "vended", validation_alias="LAKEHOUSE_GCP_CREDENTIALS", description="gcp: storage credentials from the catalog, or one's own."
    )
    bigquery_connection: str | None = Field(
        None,
        pattern=r"^projects/[^/\s]+/locations/[^/\s]+/connections/[^/\s]+$",
        validation_alias="LAKEHOUSE_BIGQUERY_CONNECTION",
        description="gcp: the connection by which BigQuery reads the files, projects/…/connections/…; without it no table is registered.",
    )
    policy_tag_restricted: str | None = Field(
        None,
        pattern=_POLICY_TAG,
        validation_alias="LAKEHOUSE_POLICY_TAG_RESTRICTED",
        description="gcp: the policy tag of restricted columns, projects/…/taxonomies/…/policyTags/…; Terraform's output.",
    )
    policy_tag_internal: str | None = Field(
        None,
        pattern=_POLICY_TAG,
        validation_alias="LAKEHOUSE_POLICY_TAG_INTERNAL",
        description="gcp: the policy tag of internal columns, projects/…/taxonomies/…/policyTags/…; Terraform's output.",
    )

    @classmethod
    def load(cls, **overrides: Any) -> LakehouseSettings:
        """The settings of this environment. ``overrides`` are variables by name.

        Raises:
            SettingsError: naming every variable that is wrong, or missing for the backend.
        """
        if unknown := overrides.keys() - _names():
            raise TypeError(f"there is no setting {', '.join(sorted(unknown))}")
        _ = _env_file()
        try:
            settings = cls(**overrides)
        except ValidationError as error:
            lines = [f"{'.'.join(str(part) for part in detail['loc'])}: {detail['msg']}." for detail in error.errors(include_input=False)]
            raise SettingsError(
                "Settings that cannot be used:\n  " + "\n  ".join(lines) + "\nSee docs/configuration-reference.md."
            ) from None
        settings._check_backend()
        return settings

    @field_validator("warehouse", "landing", "templates", "checks", mode="before")
    @classmethod
    def _expand_home(cls, value: Any) -> Any:
        try:
            return str(Path(value).expanduser()) if str(value).startswith("~") else value
        except RuntimeError:
            raise ValueError(f"there is no home folder for {value}") from None

    @field_validator("slack_webhook")
    @classmethod
    def _is_web_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", value.get_secret_value()):
            raise ValueError("a webhook's URL starts with https:// and has no spaces")
        return value

    @field_validator("repository_url", "nessie_uri", "nessie_oauth_uri", "rest_uri", mode="before")
    @classmethod
    def _has_no_login(cls, value: Any) -> Any:
        # Anywhere: a password that is not escaped may have a slash, and what follows it is then no part of the host.
        if "@" in str(value):
            raise ValueError("a URL with an @ may have a password in it, which would be shown. Take the login out; in a path, write %40")
        return value

    @field_validator("maintenance_cron")
    @classmethod
    def _is_cron(cls, value: str) -> str:
        from datetime import UTC, datetime

        from cronsim import CronSim, CronSimError

        try:
            if len(value.split()) == 5:
                CronSim(value, datetime(2024, 1, 1, tzinfo=UTC))
                return value
        except CronSimError:
            pass
        raise ValueError('a schedule has minute, hour, day, month and weekday, e.g. "30 2 * * *"')

    def _check_backend(self) -> None:
        scheme = _SCHEMES[self.backend]
        missing = [name for name in _REQUIRED[self.backend] if not self._value_of(name)]
        wrong = [f"The backend {self.backend} needs {', '.join(missing)}: set what is missing."] if missing else []
        if scheme and not self.warehouse.startswith(scheme):
            wrong.append(
                f"LAKEHOUSE_WAREHOUSE is {self.warehouse!r}; the backend {self.backend} needs a location that starts with {scheme}."
            )
        if self.backend == "aws-nessie":
            wrong += self._wrong_about_nessie()
        if wrong:
            raise SettingsError("\n".join([*wrong, "See docs/configuration-reference.md."]))
        if not scheme:
            _ = self.warehouse_folder

    def _wrong_about_nessie(self) -> list[str]:
        wrong = []
        if self.nessie_uri and not re.fullmatch(r"https?://[^\s/]+(/(?!.*(iceberg|api)/?$)\S*)?", self.nessie_uri):
            wrong.append(f"NESSIE_URI is {self.nessie_uri!r}; it is the server's URL, https://…, without /iceberg and /api.")
        if not BRANCH_NAME.fullmatch(self.branch):
            wrong.append(f"LAKEHOUSE_BRANCH is {self.branch!r}; {BRANCH_RULE}")
        if self.nessie_credential and not (self.nessie_oauth_uri and ":" in self.nessie_credential.get_secret_value()):
            wrong.append("NESSIE_CREDENTIAL is client id:secret, and needs NESSIE_OAUTH_URI, where it is exchanged for a token.")
        return wrong

    def _value_of(self, variable: str) -> Any:
        return next(getattr(self, name) for name, field in type(self).model_fields.items() if field.validation_alias == variable)

    @cached_property
    def warehouse_folder(self) -> Path:
        """The warehouse as a folder of this machine. Raises SettingsError where it is none."""
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", self.warehouse) and not self.warehouse.startswith("file:///"):
            raise SettingsError(f"LAKEHOUSE_WAREHOUSE is {self.warehouse!r}; the backend local needs a folder, or file:///<folder>.")
        is_uri = self.warehouse.startswith("file://")
        folder = Path(unquote(self.warehouse.removeprefix("file://")) if is_uri else self.warehouse).absolute()
        if set(str(folder)) & set("#?%"):  # Iceberg's locations are URIs, and engines differ on how to escape these.
            raise SettingsError(f"LAKEHOUSE_WAREHOUSE is {str(folder)!r}; use a folder without #, ? and % in its path.")
        return folder

    @property
    def has_glue_entries(self) -> bool:
        """Whether readers ask Glue's entries, on which Lake Formation's grants are, for what is committed with these settings."""
        return self.backend == "aws-glue" or (self.backend == "aws-nessie" and self.glue_catalog_id is not None and self.branch == "main")

    @property
    def warehouse_uri(self) -> str:
        """The warehouse as Iceberg writes it, without a slash at the end."""
        return f"file://{self.warehouse_folder}" if self.backend == "local" else self.warehouse.rstrip("/")

    @property
    def variables(self) -> dict[str, str]:
        """What ``${NAME}`` may stand for in a template: the environment without what is empty, and the two folders' defaults."""
        given = {name: value for name, value in os.environ.items() if value}
        return {**given, "LAKEHOUSE_WAREHOUSE": self.warehouse, "LAKEHOUSE_LANDING": self.landing}

    def fill_in(self, text: str, where: str) -> str:
        """``text`` with every ``${NAME}`` replaced.

        Raises:
            SettingsError: naming the variable that is not set, and ``where`` it is used.
        """
        variables = self.variables

        def value(match: re.Match[str]) -> str:
            name = match.group(1)
            if name not in variables:
                raise SettingsError(f"{where} uses ${{{name}}}, which is not set. Set the environment variable {name}.")
            return variables[name]

        return VARIABLE.sub(value, text)


_SCHEMES: dict[str, str] = {"local": "", "aws-glue": "s3://", "aws-nessie": "s3://", "gcp": "gs://"}
_REQUIRED: dict[str, tuple[str, ...]] = {
    "local": (),
    "aws-glue": ("AWS_REGION",),
    "aws-nessie": ("AWS_REGION", "NESSIE_URI"),
    "gcp": ("GOOGLE_CLOUD_PROJECT",),
}


def unknown_variables() -> list[str]:
    """A line for each variable of the environment or ``.env`` that looks like a setting and is none: a typo means the default."""
    given = {name for name in (*os.environ, *_env_file()) if name.upper().startswith("LAKEHOUSE_")}
    lines = []
    for name in sorted(name for name in given if name.upper() not in _names()):
        close = difflib.get_close_matches(name.upper(), sorted(_names()), 1)
        lines.append(f"{name} is no setting" + (f"; did you mean {close[0]}?" if close else "; see docs/configuration-reference.md."))
    return lines


def _env_file() -> dict[str, str | None]:
    try:
        return dotenv_values(".env")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The file .env cannot be read: {error}. Make it a readable file of UTF-8 text.") from None


def _names() -> set[str]:
    return {str(field.validation_alias) for field in LakehouseSettings.model_fields.values()}


def configuration_table() -> str:
    """The Markdown table of every variable, for docs/configuration-reference.md."""
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for field in LakehouseSettings.model_fields.values():
        default = field.default
        if isinstance(default, ByteSize):
            default = default.human_readable().replace(".0", "")
        elif isinstance(default, str | Path):
            default = str(default).replace(f"{PROJECT_ROOT}/", "")
        meaning = str(field.description).replace("<", "&lt;")
        rows.append(f"| `{field.validation_alias}` | {'' if default is None else f'`{default}`'} | {meaning} |")
    return "\n".join(rows) + "\n"
