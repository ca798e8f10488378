"""Entries that readers query, and that only point at a table: they name one of its metadata files, and are moved after each commit.

On aws-nessie they are Glue's entries, on gcp BigQuery's external tables. Knows neither: a backend that has pointers is a class and
one line in ``_BACKENDS``. Rows are safe whatever becomes of a pointer; until it is moved, readers see the table as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table
from tenacity import RetryError, Retrying, retry_if_exception, retry_if_result, stop_after_delay, wait_random_exponential

from lakehouse.catalog import catalog_errors, load_newest
from lakehouse.errors import LakehouseError, SettingsError
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate, with_quarantine

_WORKERS = 8
# Seconds for which a pointer is followed that others move too, or whose service fails for the moment.
_PATIENCE = 60.0


class PointerError(LakehouseError):
    """A pointer is not where its table is. The rows are committed, and its readers do not see them.

    Attributes:
        transient: whether another attempt may do.
    """

    def __init__(self, message: str, transient: bool = False) -> None:
        self.transient = transient
        super().__init__(message)


class PointerConflictError(PointerError):
    """Another changed the pointer since it was read: it is to be read again."""

    def __init__(self, message: str) -> None:
        super().__init__(message, transient=True)


class PointerUnreachableError(PointerError):
    """The service that has the pointer does not answer, or refuses: what the pointer is, is not known."""


@dataclass(frozen=True)
class Pointer:
    """What is known of a pointer.

    Attributes:
        metadata_location: of the metadata file that it names; None where it names none yet.
        version: another with each change of it, by whomever.
        entry: as its service has it; for the backend alone.
    """

    metadata_location: str | None
    version: str
    entry: Any = None


class Pointers(Protocol):
    """The pointers of one backend. Every method raises PointerError, and PointerUnreachableError where the service does not answer.

    ``template`` is None for a table that no template describes.
    """

    def read(self, table_name: str) -> Pointer | None:
        """The pointer of ``namespace.table``; None where there is none.

        Raises:
            PointerError: there is something else in its place.
        """
        ...

    def differences(self, template: TableTemplate | None, table: Table, pointer: Pointer) -> Sequence[str]:
        """What else of a pointer is not as the table says, e.g. its columns: a sentence each. ``move`` sets it right."""
        ...

    def check(self, template: TableTemplate | None, table: Table, pointer: Pointer | None) -> None:
        """Whether ``create`` or ``move`` may be made. Raises PermissionOrderError where it would show a restricted column."""
        ...

    def create(self, template: TableTemplate | None, table: Table) -> None:
        """Makes a pointer that is missing; raises PointerError with the remedy where that is not this project's to do."""
        ...

    def move(self, template: TableTemplate | None, table: Table, pointer: Pointer) -> None:
        """Has the pointer name the table's metadata, and follow its schema, if it still is as it was read.

        Raises:
            PointerConflictError: it is another by now; PermissionOrderError: as ``check``.
        """
        ...


@dataclass(frozen=True)
class Moved:
    """What was done about one table's pointer.

    Attributes:
        action: ``behind``: it would be moved, but nothing was to be changed. ``absent``: main has no such table, and nothing points
            at one. ``unmanaged``: there is neither a pointer nor a template.
        before, after: the metadata files that it named, and names; empty where there is none, or it is not known.
        detail: what was wrong with it, or what failed.
    """

    table: str
    action: Literal["in step", "moved", "behind", "absent", "unmanaged", "failed"]
    before: str = ""
    after: str = ""
    detail: str = ""


def open_pointers(settings: LakehouseSettings) -> Pointers | None:
    """The pointers that follow what is committed with these settings.

    Returns:
        None where readers ask the catalog itself, on other branches than main, and where the settings do not say where pointers are.
    """
    opener = _BACKENDS.get(settings.backend)
    return opener(settings) if opener is not None else None


def require_pointers(settings: LakehouseSettings) -> Pointers | None:
    """The pointers; None with a backend whose readers ask the catalog itself. Raises SettingsError where the settings keep from them."""
    if (pointers := open_pointers(settings)) is None and settings.backend in _BACKENDS:
        if settings.branch != "main":
            raise SettingsError(f"Readers are shown main alone, and LAKEHOUSE_BRANCH is {settings.branch!r}. Unset it.")
        raise SettingsError(f"The settings do not say what readers ask: set {_SETTINGS[settings.backend]}, which Terraform's outputs have.")
    return pointers


def follow(
    pointers: Pointers, settings: LakehouseSettings, catalog: Catalog, templates: Iterable[TableTemplate | str], dry_run: bool = False
) -> list[Moved]:
    """Moves the pointer of each table to the table's newest metadata, and looks again until both agree. No failure hides another.

    Args:
        catalog: of the main branch.
        templates: of the tables; a name, for a table whose template is not at hand.
        dry_run: only says which would be moved.
    """
    wanted = list(templates)
    named = [found for found in wanted if isinstance(found, str)]
    try:
        known = find_templates(settings, named) if named else {}
    except LakehouseError as error:
        raise PointerError(f"What points at {', '.join(named)} is not moved, as its template cannot be looked up: {error}") from None
    tables: dict[str, TableTemplate | None] = {name: known.get(name) for name in named}
    tables |= {found.table_name: found for found in wanted if not isinstance(found, str)}
    return follow_tables(pointers, catalog, tables, dry_run)


def follow_tables(pointers: Pointers, catalog: Catalog, tables: Mapping[str, TableTemplate | None], dry_run: bool = False) -> list[Moved]:
    """As ``follow``, of tables whose templates were looked up. Raises nothing."""

    def one(name: str) -> Moved:
        try:
            return _follow(pointers, catalog, name, tables[name], dry_run)
        except LakehouseError as error:
            return Moved(name, "failed", detail=str(error))
        except Exception as error:
            return Moved(name, "failed", detail=f"What points at {name} was not moved: {type(error).__name__}: {error}. {remedy(name)}")

    if len(tables) == 1:
        return [one(name) for name in tables]
    with ThreadPoolExecutor(_WORKERS) as workers:
        return list(workers.map(one, tables))


def follow_commit(settings: LakehouseSettings, catalog: Catalog, template: TableTemplate | str) -> None:
    """Moves the pointer of a table that something just committed to. Raises PointerError; the commit stands in any case."""
    if (pointers := open_pointers(settings)) is not None:
        check_followed(follow(pointers, settings, catalog, [template]))


def check_followed(moved: Iterable[Moved]) -> None:
    """Raises PointerError that says of each failure what it was."""
    if failed := [found.detail for found in moved if found.action == "failed"]:
        raise PointerError("\n".join(failed))


def wrong_with(pointers: Pointers, template: TableTemplate | None, table: Table, pointer: Pointer) -> list[str]:
    """How a pointer differs from its table: a sentence each; nothing where both agree."""
    differences = list(pointers.differences(template, table, pointer))
    if pointer.metadata_location is None:
        return ["It names no metadata yet.", *differences]
    if pointer.metadata_location != table.metadata_location:
        return ["It names older metadata than the table's newest.", *differences]
    return differences


def _follow(pointers: Pointers, catalog: Catalog, name: str, template: TableTemplate | None, dry_run: bool) -> Moved:
    seen: list[tuple[str, list[str]]] = []  # what it named, and what was wrong, each time that it did not agree

    def look() -> Moved | None:
        # The pointer first: the table is then as new as whatever it names, so that no move is one backwards.
        pointer = pointers.read(name)
        if (table := _newest(catalog, name)) is None:
            return _without_table(name, pointer)
        if pointer is None:
            if template is None:
                return Moved(name, "unmanaged")
            seen.append(("", ["There is none."]))
            if not dry_run:
                pointers.create(template, table)
                return None
        elif wrong := wrong_with(pointers, template, table, pointer):
            seen.append((pointer.metadata_location or "", wrong))
            if not dry_run:
                pointers.move(template, table, pointer)
                return None
        if not seen:
            return Moved(name, "in step", table.metadata_location, table.metadata_location)
        before, wrong = seen[0]
        return Moved(name, "behind" if dry_run else "moved", before, table.metadata_location, " ".join(wrong))

    attempts = Retrying(
        # None: it was moved just now. Another commit may have come meanwhile, and its run may have died: both are looked at again.
        retry=retry_if_result(lambda result: result is None) | retry_if_exception(_transient),
        stop=stop_after_delay(_PATIENCE),
        wait=wait_random_exponential(multiplier=0.05, max=5),
    )
    try:
        result = attempts(look)
    except RetryError as error:
        if (reason := error.last_attempt.exception()) is not None:
            raise reason from None
        raise PointerError(f"What points at {name} was moved for {_PATIENCE:.0f} s, and the table went on. {remedy(name)}") from None
    assert result is not None
    return result


def _newest(catalog: Catalog, name: str) -> Table | None:
    with catalog_errors(f"{name} cannot be read, so that what points at it is not moved"):
        try:
            return load_newest(catalog, name)
        except NoSuchTableError:
            return None


def remedy(table_name: str) -> str:
    """What to do about a pointer that is not where its table is."""
    return f"Repair it: lakehouse sync {table_name}"


def _transient(error: BaseException) -> bool:
    return isinstance(error, PointerError) and error.transient


def _without_table(name: str, pointer: Pointer | None) -> Moved:
    if pointer is None or pointer.metadata_location is None:
        return Moved(name, "absent", detail="The table is not made yet: lakehouse apply")
    raise PointerError(
        f"The catalog has no table {name}, and readers are still shown {pointer.metadata_location}. If it was dropped on purpose, remove "
        "its template, and what points at it; else bring it back, e.g. from another branch."
    )


def find_templates(settings: LakehouseSettings, names: Sequence[str]) -> dict[str, TableTemplate]:
    """Every usable template by its table, those of these tables judged by all rules. Raises TemplateError where one cannot be used."""
    from lakehouse.errors import TemplateError
    from lakehouse.lint import lint_templates

    result = lint_templates(settings.templates, settings.variables, names)
    if errors := [error for error in result.errors if error.rule != "no-templates"]:
        raise TemplateError(errors)
    return {template.table_name: template for template in with_quarantine(result.templates)}


def _glue_pointers(settings: LakehouseSettings) -> Pointers | None:
    if not settings.has_glue_entries:
        return None
    from lakehouse.glue_pointers import GluePointers

    return GluePointers(settings)


def _bigquery_pointers(settings: LakehouseSettings) -> Pointers | None:
    if not settings.bigquery_connection:
        return None
    from lakehouse.bigquery_pointers import BigQueryPointers

    return BigQueryPointers(settings)


_BACKENDS: dict[str, Callable[[LakehouseSettings], Pointers | None]] = {"aws-nessie": _glue_pointers, "gcp": _bigquery_pointers}
# Without which there are none.
_SETTINGS = {"aws-nessie": "GLUE_CATALOG_ID", "gcp": "LAKEHOUSE_BIGQUERY_CONNECTION"}
