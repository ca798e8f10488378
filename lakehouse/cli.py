"""``lakehouse``: the command line. Thin: every command loads, calls one function, and prints.

What a command needs is imported when it runs: a command then starts in half the time that all of them would take.
"""

from __future__ import annotations

import gc
import sys

import typer
from rich.text import Text

from lakehouse import (
    cli_audit,
    cli_branch,
    cli_catalog,
    cli_doctor,
    cli_interchange,
    cli_new_table,
    cli_rollback,
    cli_schema,
    cli_settings,
    cli_spark,
    cli_tables,
)
from lakehouse.cli_output import ERR
from lakehouse.errors import LakehouseError
from lakehouse.settings import unknown_variables

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="An Apache Iceberg lakehouse from YAML templates."
)
app.add_typer(cli_schema.app)
app.add_typer(cli_interchange.app)
app.add_typer(cli_new_table.app)
app.add_typer(cli_tables.app)
app.add_typer(cli_catalog.app)
app.add_typer(cli_rollback.app)
app.add_typer(cli_audit.app, name="audit")
app.add_typer(cli_branch.app, name="branch")
app.add_typer(cli_settings.app)
app.add_typer(cli_spark.app)
app.add_typer(cli_doctor.app)


def main() -> None:
    """Runs a command; a user's mistake is a message and exit code 1, not a traceback."""
    # Imports make many objects and no garbage; looking for it all the while is a tenth of a command's time. A plan makes half as many.
    gc.set_threshold(200_000, 20, 100)
    try:
        # The doctor tells them itself, and looks on where .env cannot be read.
        for warning in unknown_variables() if sys.argv[1:2] != ["doctor"] else []:
            ERR.print(Text(f"warning: {warning}", style="yellow"))
        app()
    except LakehouseError as error:
        ERR.print(Text(f"error: {error}", style="red"))
        sys.exit(1)
    finally:
        gc.freeze()  # what a process leaves when it ends need not be searched, either


if __name__ == "__main__":
    main()
