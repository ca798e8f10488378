"""The calls of Lake Formation, Glue and STS that governance needs, and its values in their terms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from lakehouse.catalog import catalog_errors
from lakehouse.errors import CatalogError, MissingExtraError
from lakehouse.grants import ALL_TABLES, Grant, Target
from lakehouse.settings import LakehouseSettings


class Caller:
    """Who asks."""

    def __init__(self, arn: str) -> None:
        self.arn = arn

    def matches(self, principals: Iterable[str]) -> bool:
        """Whether it is one of them, or a session of one of them (whose ARN has the role's name, and not its path)."""
        _, _, service, _, account, name = self.arn.split(":", 5)
        if service != "sts" or not name.startswith("assumed-role/"):
            return self.arn in principals
        role = name.split("/")[1]
        return any(f":{account}:role/" in arn and arn.rsplit("/", 1)[-1] == role for arn in principals)


class LakeFormation:
    """The calls of Lake Formation and Glue that governance needs. Every method raises what boto3 does, unless it says more.

    Throttled calls are repeated.
    """

    def __init__(self, settings: LakehouseSettings) -> None:
        try:
            import boto3  # type: ignore[import-untyped]
            from botocore.config import Config  # type: ignore[import-untyped]
        except ModuleNotFoundError:
            raise MissingExtraError("aws", "Lake Formation") from None
        session = boto3.Session(region_name=settings.aws_region)
        config = Config(retries={"mode": "standard", "max_attempts": 8})
        self.client: Callable[[str], Any] = lambda service: session.client(service, config=config)
        self._catalog = {"CatalogId": settings.glue_catalog_id} if settings.glue_catalog_id else {}
        self._lakeformation, self._glue = self.client("lakeformation"), self.client("glue")

    def caller(self) -> Caller:
        """Who asks."""
        return Caller(self.client("sts").get_caller_identity()["Arn"])

    def administrators(self) -> tuple[frozenset[str], frozenset[str]]:
        """The data lake administrators, and those that may only look."""
        settings = self._lakeformation.get_data_lake_settings(**self._catalog)["DataLakeSettings"]
        everything, looking = (
            frozenset(entry["DataLakePrincipalIdentifier"] for entry in settings.get(key) or [])
            for key in ("DataLakeAdmins", "ReadOnlyAdmins")
        )
        return everything, looking

    def tables(self, database: str) -> dict[str, frozenset[str]] | None:
        """The live columns of every table of a database; None where there is no such database."""
        try:
            pages = self._glue.get_paginator("get_tables").paginate(DatabaseName=database, **self._catalog)
            return {table["Name"]: _columns(table) for page in pages for table in page["TableList"]}
        except self._glue.exceptions.EntityNotFoundException:
            return None

    def columns(self, database: str, table: str) -> frozenset[str] | None:
        """The live columns of a table; None where there is no such table."""
        try:
            return _columns(self._glue.get_table(DatabaseName=database, Name=table, **self._catalog)["Table"])
        except self._glue.exceptions.EntityNotFoundException:
            return None

    def permissions(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Every explicit grant that the caller may see, as Lake Formation lists it."""
        more: dict[str, str] = {}  # boto3 has no paginator for it
        while True:
            page = self._lakeformation.list_permissions(MaxResults=1000, **self._catalog, **filters, **more)
            yield from page["PrincipalResourcePermissions"]
            if not page.get("NextToken"):
                return
            more = {"NextToken": page["NextToken"]}

    def cell_permissions(self) -> Iterator[dict[str, Any]]:
        """The grants on data cells filters, which no other list has."""
        for page in self._lakeformation.get_paginator("list_data_cells_filter").paginate():
            for cells in page["DataCellsFilters"]:
                names = {key: cells[key] for key in ("TableCatalogId", "DatabaseName", "TableName", "Name")}
                yield from self.permissions(Resource={"DataCellsFilter": names})

    def tags(self, database: str, table: str) -> tuple[dict[str, str], list[dict[str, str]]]:
        """The LF-tags of a database, and those of a table followed by those of each of its columns that has others."""
        resource = {"Table": {"DatabaseName": database, "Name": table, **self._catalog}}
        answer = self._lakeformation.get_resource_lf_tags(Resource=resource, **self._catalog)
        of_database = _tag_values(answer.get("LFTagOnDatabase"))
        of_table = of_database | _tag_values(answer.get("LFTagsOnTable"))
        return of_database, [of_table, *(of_table | _tag_values(column["LFTags"]) for column in answer.get("LFTagsOnColumns") or [])]

    def tag_expression(self, policy: dict[str, Any]) -> dict[str, list[str]]:
        """The tags that a grant asks for, and for each the values."""
        expression = policy.get("Expression")
        if expression is None:
            expression = self._lakeformation.get_lf_tag_expression(Name=policy["ExpressionName"], **self._catalog)["Expression"]
        return {tag["TagKey"]: tag["TagValues"] for tag in expression}

    def revoke(self, grant: Grant) -> bool:
        """Takes a grant away; False where there is nothing like it. Raises CatalogError."""
        try:
            with catalog_errors(f"Revoking on {grant.target.name} from {grant.principal} failed"):
                self._change("revoke_permissions", grant)
        except CatalogError as error:
            # The same text by which Terraform learns that a revoke is done: there is no code of its own.
            if _code(error.__cause__) == "InvalidInputException" and "Grantee has no" in str(error):
                return False
            raise
        return True

    def grant(self, grant: Grant) -> None:
        """Grants. Raises CatalogError."""
        with catalog_errors(f"Granting on {grant.target.name} to {grant.principal} failed"):
            self._change("grant_permissions", grant)

    @retry(
        retry=retry_if_exception(lambda error: _code(error) == "ConcurrentModificationException"),
        stop=stop_after_attempt(6),
        wait=wait_random_exponential(0.2, 5),
        reraise=True,
    )
    def _change(self, operation: str, grant: Grant) -> None:
        # A part of the same table that another call changes is a conflict, which boto3 does not repeat.
        getattr(self._lakeformation, operation)(
            Principal={"DataLakePrincipalIdentifier": grant.principal},
            Resource=_resource(grant.target),
            Permissions=sorted(grant.permissions),
            PermissionsWithGrantOption=sorted(grant.grantable),
            **self._catalog,
        )


def _code(error: BaseException | None) -> str:
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))


def _columns(table: dict[str, Any]) -> frozenset[str]:
    # PyIceberg and Spark leave columns of older schemas in the entry, marked.
    listed = table.get("StorageDescriptor", {}).get("Columns") or []
    return frozenset(column["Name"] for column in listed if (column.get("Parameters") or {}).get("iceberg.field.current") != "false")


def _tag_values(tags: list[dict[str, Any]] | None) -> dict[str, str]:
    return {tag["TagKey"]: tag["TagValues"][0] for tag in tags or []}


def target_of(resource: dict[str, Any]) -> Target | None:
    """What a listed grant is on; None for kinds that give no access to tables by themselves."""
    kind, on = next(iter(resource.items()))
    catalog_id = on.get("CatalogId") or on.get("TableCatalogId") or ""
    match kind:
        case "Catalog":
            return Target()
        case "Database":
            return Target(on["Name"], catalog_id=catalog_id)
        case "Table":
            return Target(on["DatabaseName"], ALL_TABLES if "TableWildcard" in on else on["Name"], catalog_id=catalog_id)
        case "TableWithColumns":
            columns = tuple(on["ColumnNames"]) if on.get("ColumnNames") else None
            excluded = tuple((on.get("ColumnWildcard") or {}).get("ExcludedColumnNames") or ())
            return Target(on["DatabaseName"], on["Name"], columns, excluded, catalog_id=catalog_id)
        case "DataLocation":
            return Target(location=on["ResourceArn"], catalog_id=catalog_id)
        case "DataCellsFilter":
            return Target(on["DatabaseName"], on["TableName"], cells=on["Name"], catalog_id=catalog_id)
    return None


def _resource(target: Target) -> dict[str, Any]:
    """A target as Lake Formation's API takes it."""
    catalog = {"CatalogId": target.catalog_id} if target.catalog_id else {}
    if target.location:
        return {"DataLocation": {"ResourceArn": target.location, **catalog}}
    if not target.database:
        return {"Catalog": {}}
    if not target.table:
        return {"Database": {"Name": target.database, **catalog}}
    if target.cells:
        owner = {"TableCatalogId": target.catalog_id}
        return {"DataCellsFilter": {"DatabaseName": target.database, "TableName": target.table, "Name": target.cells, **owner}}
    table = {"DatabaseName": target.database, **catalog}
    if target.table == ALL_TABLES:
        return {"Table": {"TableWildcard": {}, **table}}
    table["Name"] = target.table
    if target.columns is not None:
        return {"TableWithColumns": {"ColumnNames": list(target.columns), **table}}
    if target.excluded:
        return {"TableWithColumns": {"ColumnWildcard": {"ExcludedColumnNames": list(target.excluded)}, **table}}
    return {"Table": table}
