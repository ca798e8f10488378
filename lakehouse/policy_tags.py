"""Which policy tag each column of a table carries in BigQuery: what its template's ``access_level`` says, and never less by accident.

Knows the rules and no client: ``bigquery_tables.py`` makes it so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pyiceberg.table import Table

from lakehouse.bigquery_schema import Field, all_fields, bigquery_fields, leaves, tag_key, tags_of
from lakehouse.errors import SettingsError
from lakehouse.renames import consumed_names, match_columns
from lakehouse.schema_plan import Change
from lakehouse.settings import LakehouseSettings
from lakehouse.template import TableTemplate

AccessLevel = Literal["public", "internal", "restricted"]
# From the widest to the narrowest.
ORDER: dict[AccessLevel, int] = {"public": 0, "internal": 1, "restricted": 2}
_WIDENS = "more people could read it; it needs --allow-breaking"
_REPLACES = "somebody set it on purpose, and others could read it then; it needs --allow-breaking"


def access_levels(template: TableTemplate) -> dict[str, AccessLevel]:
    """The level at which each column is shown, by the column's name and its former ones; restricted where any says so.

    A former name of a restricted column is hidden as well, as in ``governance.visible_columns``.
    """
    levels: dict[str, AccessLevel] = {column.name: column.access_level for column in template.columns}
    for column in template.columns:
        for name in column.renamed_from:
            levels[name] = max(levels.get(name, "public"), column.access_level, key=ORDER.__getitem__)
    return levels


@dataclass(frozen=True)
class PolicyTags:
    """The policy tags that Terraform makes, by their resource names; None where a setting is missing."""

    restricted: str | None
    internal: str | None

    @classmethod
    def of(cls, settings: LakehouseSettings) -> PolicyTags:
        """Those of the settings."""
        return cls(settings.policy_tag_restricted, settings.policy_tag_internal)

    def names(self, level: AccessLevel) -> tuple[str, ...]:
        """The tags of a column of this access level. Raises SettingsError where the tag is not known."""
        if level == "public":
            return ()
        if (tag := self.restricted if level == "restricted" else self.internal) is None:
            raise SettingsError(
                f"LAKEHOUSE_POLICY_TAG_{level.upper()} is not set, and a column of the access level {level} is not shown to BigQuery "
                "without its tag. Terraform's outputs have it: lakehouse env --terraform terraform/gcp"
            )
        return (tag,)

    def level(self, names: Sequence[str]) -> AccessLevel | None:
        """The access level that these tags stand for; None for a tag of somebody else's."""
        if not names:
            return "public"
        known: dict[str, AccessLevel] = {tag_key(self.restricted or ""): "restricted", tag_key(self.internal or ""): "internal"}
        return known.get(tag_key(names[0]))

    def check(self, template: TableTemplate) -> None:
        """Raises SettingsError, naming the table, where a column of it would need a tag that is not known."""
        for level in sorted(set(access_levels(template).values())):
            try:
                self.names(level)
            except SettingsError as error:
                raise SettingsError(f"{template.table_name}: {error}") from None


# The columns of a table by their names, and what each is called in the entry; one that the entry does not show yet is not in it.
Shown = Mapping[str, str]


def tagged_fields(
    table: Table, template: TableTemplate | None, tags: PolicyTags, held: Iterable[Field], shown: Shown | None, lower: bool = False
) -> list[Field]:
    """The fields of a table's entry in BigQuery, each that holds values with its policy tag, if only an empty list.

    A column that no template describes keeps its tag, or gets the narrowest where it is new. Another's tag stays, but on a restricted
    column. What else was set on a field stays.

    Args:
        table: the live table, whose schema the entry gets.
        held: the fields that the entry has now.
        shown: which of them is which column; None where that is not known: the narrowest tag of a column's names counts then.
        lower: whether a column may get a wider tag than it holds. Without it the narrower of both counts, whatever was renamed.

    Raises:
        SettingsError: a tag that is needed is not known; TableMismatchError: BigQuery does not have a column's type.
    """
    fields, before = bigquery_fields(table.schema()), dict(all_fields(held))
    levels, names = _levels(table, template), _names_before(table, template, shown)
    for path, field in all_fields(fields):
        column, _, rest = path.partition(".")
        own = [before[was] for was in (_path(name, rest) for name in names[column]) if was in before]
        field.update({key: value for found in own[:1] for key, value in found.items() if key not in (*field, "policyTags", "fields")})
        if field.get("fields"):
            continue
        # A leaf that is new in a struct is no wider than the others.
        found = own or ([leaf for name in names[column] for leaf in _leaves_of(before, name)] if column in levels else [])
        field["policyTags"] = {"names": list(_names(tags, levels.get(column), [tags_of(leaf) for leaf in found], lower))}
    return fields


def opened_names(
    table: Table, template: TableTemplate, tags: PolicyTags, held: Iterable[Field], shown: Shown | None, columns: Mapping[str, int]
) -> list[str]:
    """Names under which the entry shows more than it should of the columns that are to get them.

    A pipeline with an older template might show the one under the tag of the other, before `apply` has moved the entry.

    Args:
        columns: the names, each with the Iceberg field id that it is to have.
    """
    before, levels, names = dict(all_fields(held)), access_levels(template), _names_before(table, template, shown)
    live = {field.field_id: field.name for field in table.schema().fields}

    def held_by(column: str, unknown: AccessLevel) -> list[AccessLevel]:
        return [tags.level(tags_of(leaf)) or unknown for leaf in _leaves_of(before, column)]

    found = []
    for name, field_id in columns.items():
        to_come = [levels.get(name, "restricted")]
        for former in names[live[field_id]] if field_id in live else ():
            to_come += held_by(former, "restricted")
        if any(ORDER[level] < max(ORDER[wanted] for wanted in to_come) for level in held_by(name, "public")):
            found.append(name)
    return sorted(found)


def tag_changes(table: Table, template: TableTemplate, tags: PolicyTags, held: Iterable[Field], shown: Shown | None) -> Iterator[Change]:
    """What `plan` says of the tags that an entry has: a narrower one is safe, a wider one or none breaking, as is another's."""
    live, levels = {path for path, _ in leaves(bigquery_fields(table.schema()))}, _levels(table, template)
    columns = {was: column for column, was in (shown or {}).items()}
    for was, field in leaves(held):
        name, _, rest = was.partition(".")
        column = columns.get(name, "") if shown is not None else name
        path, wanted = _path(column, rest), levels.get(column)
        has = tags.level(tags_of(field))
        if path not in live or wanted is None or has == wanted:
            continue
        before, after = _words(has), _words(wanted)
        if wanted == "restricted" or (has is not None and ORDER[has] < ORDER[wanted]):
            yield Change("tag-column", path, before, after)
        else:
            note = _REPLACES if has is None else _WIDENS
            yield Change("untag-column" if wanted == "public" else "tag-column", path, before, after, "breaking", note)


def _words(level: AccessLevel | None) -> str:
    return {"public": "no tag", None: "another tag"}.get(level, str(level))


def _names(tags: PolicyTags, level: AccessLevel | None, held: Sequence[Sequence[str]], lower: bool) -> Sequence[str]:
    """The tags of one field, from the level that the template says and those that it, or what it was renamed from, holds."""
    if level is None:
        return max(held, key=lambda names: ORDER[tags.level(names) or "restricted"], default=tags.names("restricted"))
    if lower or not held:
        return tags.names(level)
    levels = [tags.level(names) for names in held]
    # Somebody set another tag on purpose: whether the template's is narrower, nobody knows. Who reads the restricted, the template says.
    if None in levels and "restricted" not in (level, *levels):
        return held[levels.index(None)]
    return tags.names(max((level, *(known for known in levels if known is not None)), key=ORDER.__getitem__))


def _levels(table: Table, template: TableTemplate | None) -> dict[str, AccessLevel]:
    """The access level of each live column that the template describes, by its live name, renames that are to come included."""
    if template is None:
        return {}
    matched, levels = match_columns(template.columns, table.schema(), consumed_names(table)), access_levels(template)
    return {matched[column.name].name: levels[column.name] for column in template.columns if column.name in matched}


def _names_before(table: Table, template: TableTemplate | None, shown: Shown | None) -> dict[str, Collection[str]]:
    """Under which names the entry may show each column."""
    if shown is not None:
        return {field.name: [shown[field.name]] if field.name in shown else [] for field in table.schema().fields}
    consumed = consumed_names(table)
    former = {column.name: column.renamed_from for column in template.columns} if template else {}
    return {
        field.name: dict.fromkeys((field.name, *former.get(field.name, ()), *sorted(consumed[field.field_id])))
        for field in table.schema().fields
    }


def _leaves_of(fields: Mapping[str, Field], column: str) -> list[Field]:
    return [field for path, field in fields.items() if path.partition(".")[0] == column and not field.get("fields")]


def _path(column: str, rest: str) -> str:
    return f"{column}.{rest}" if rest else column
