"""What moto answers unlike AWS, put right for the resources that the templates need.

Each correction says what it mends; ``tests/integration/test_aws_server.py`` fails for each that moto no longer needs.
"""

from __future__ import annotations

import fnmatch
import functools
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.athena.models import AthenaBackend
from moto.athena.responses import AthenaResponse
from moto.core.exceptions import JsonRESTError
from moto.core.responses import ActionResult, EmptyResult
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.ec2.models.security_groups import SecurityGroupRule
from moto.ecs.models import Service
from moto.ecs.responses import EC2ContainerServiceResponse
from moto.glue.exceptions import EntityNotFoundException, GlueClientError
from moto.glue.models import FakeTable, GlueBackend, glue_backends
from moto.glue.responses import GlueResponse
from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.lakeformation import urls as lake_formation_urls
from moto.lakeformation.exceptions import EntityNotFound, InvalidInput
from moto.lakeformation.models import LakeFormationBackend, Resource, lakeformation_backends
from moto.lakeformation.responses import LakeFormationResponse
from moto.s3.models import FakeBucket

# Terraform and PyIceberg ask from many threads, and moto's models have no locks of their own.
LOCK = threading.RLock()


@functools.cache
def correct_moto() -> None:
    """Makes moto, in this process and once, answer as AWS does where the templates' resources need it."""
    for correction in (
        _glue_enforces_version_ids,
        _glue_has_table_optimizers,
        _glue_defaults_open_to_everybody,
        _lake_formation_lists_and_revokes_as_aws_does,
        _lake_formation_remembers_registrations,
        _athena_updates_work_groups,
        _athena_updates_and_deletes_named_queries,
        _athena_work_groups_may_have_no_tags,
        _s3_ignores_statements_about_tls,
        _s3_log_buckets_may_have_any_policy,
        _ecs_services_run,
        _autoscaling_targets_have_tags,
        _security_group_rules_keep_their_descriptions,
        _dynamodb_updates_keep_bytes,
    ):
        correction()


def _replace(part_of_moto: type, **functions: Callable[..., Any]) -> None:
    """Gives a class of moto other methods, or more, each under the lock."""
    for name, function in functions.items():
        setattr(part_of_moto, name, _locked(function))


def _locked(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def locked(*args: Any, **kwargs: Any) -> Any:
        with LOCK:
            return function(*args, **kwargs)

    return locked


def _glue_enforces_version_ids() -> None:
    """moto ignores UpdateTable's VersionId, so that of two commits both would win; AWS refuses the one with a stale version."""
    update = GlueResponse.update_table

    def update_table(self: GlueResponse) -> ActionResult:
        asked = self.parameters
        if (version := asked.get("VersionId")) is not None:
            live = self.glue_backend.get_table(asked["DatabaseName"], asked["TableInput"]["Name"]).as_dict()["VersionId"]
            if version != live:
                raise GlueClientError(
                    "ConcurrentModificationException", f"Update table failed: version {version} is not the latest, {live}"
                )
        return update(self)

    _replace(GlueResponse, update_table=update_table)


def _glue_has_table_optimizers() -> None:
    """moto has none of the actions of ``aws_glue_catalog_table_optimizer``."""

    def optimizers(self: GlueResponse) -> tuple[dict[str, Any], str]:
        asked = self.parameters
        table = self.glue_backend.get_table(asked["DatabaseName"], asked["TableName"])
        return table.__dict__.setdefault("optimizers", {}), asked["Type"]

    def existing(self: GlueResponse) -> tuple[dict[str, Any], str]:
        found, kind = optimizers(self)
        if kind not in found:
            raise EntityNotFoundException(f"Optimizer {kind} not found.")
        return found, kind

    def create(self: GlueResponse) -> ActionResult:
        found, kind = optimizers(self)
        if kind in found:
            raise GlueClientError("AlreadyExistsException", f"Optimizer {kind} already exists.")
        found[kind] = self.parameters["TableOptimizerConfiguration"]
        return EmptyResult()

    def get(self: GlueResponse) -> ActionResult:
        found, kind = existing(self)
        asked = self.parameters
        optimizer = {"type": kind, "configuration": found[kind]}
        return ActionResult({**{name: asked[name] for name in ("CatalogId", "DatabaseName", "TableName")}, "TableOptimizer": optimizer})

    def update(self: GlueResponse) -> ActionResult:
        found, kind = existing(self)
        found[kind] = self.parameters["TableOptimizerConfiguration"]
        return EmptyResult()

    def delete(self: GlueResponse) -> ActionResult:
        found, kind = existing(self)
        del found[kind]
        return EmptyResult()

    _replace(GlueResponse, **{f"{action.__name__}_table_optimizer": action for action in (create, get, update, delete)})


def _glue_defaults_open_to_everybody() -> None:
    """In AWS a new database and a new table are open to IAMAllowedPrincipals unless the settings or the database say otherwise, and
    what is dropped takes its grants along; in moto Glue and Lake Formation know nothing of each other."""
    create_database, create_table = GlueBackend.create_database, GlueBackend.create_table
    delete_database, delete_table = GlueBackend.delete_database, GlueBackend.delete_table

    def grants_and_settings(self: GlueBackend) -> tuple[_Grants, dict[str, Any]]:
        backend = lakeformation_backends[self.account_id][self.region_name]
        return _grants(backend, self.account_id), backend.get_data_lake_settings(self.account_id)

    def give(grants: _Grants, resource: dict[str, Any], permissions: Iterable[dict[str, Any]]) -> None:
        for entry in permissions:
            grants.grant(entry["Principal"]["DataLakePrincipalIdentifier"], resource, entry.get("Permissions") or [], [])

    def created_database(self: GlueBackend, database_name: str, database_input: dict[str, Any], *args: Any) -> Any:
        grants, settings = grants_and_settings(self)
        if "CreateTableDefaultPermissions" not in database_input:
            database_input["CreateTableDefaultPermissions"] = settings.get("CreateTableDefaultPermissions", [])
        database = create_database(self, database_name, database_input, *args)
        give(grants, {"Database": {"Name": database_name}}, settings.get("CreateDatabaseDefaultPermissions", []))
        return database

    def created_table(self: GlueBackend, database_name: str, table_name: str, *args: Any, **kwargs: Any) -> FakeTable:
        table = create_table(self, database_name, table_name, *args, **kwargs)
        defaults = self.get_database(database_name).input.get("CreateTableDefaultPermissions") or []
        give(grants_and_settings(self)[0], {"Table": {"DatabaseName": database_name, "Name": table_name}}, defaults)
        return table

    def deleted_database(self: GlueBackend, database_name: str) -> None:
        tables = list(self.get_database(database_name).tables)
        delete_database(self, database_name)
        grants, _ = grants_and_settings(self)
        for table_name in tables:
            grants.forget({"Table": {"DatabaseName": database_name, "Name": table_name}})
        grants.forget({"Database": {"Name": database_name}})

    def deleted_table(self: GlueBackend, database_name: str, table_name: str) -> None:
        delete_table(self, database_name, table_name)
        grants_and_settings(self)[0].forget({"Table": {"DatabaseName": database_name, "Name": table_name}})

    _replace(GlueBackend, create_database=created_database, create_table=created_table)
    _replace(GlueBackend, delete_database=deleted_database, delete_table=deleted_table)


# A permission is on a resource, (), or, for SELECT, on a column, ("column", name), or on all columns but some, ("wildcard", *excluded).
_Part = tuple[str, ...]


@dataclass
class _Held:
    """What one principal has on one part."""

    permissions: set[str] = field(default_factory=set)
    grantable: set[str] = field(default_factory=set)


class _Grants:
    """The grants of one catalog, stored as AWS shows them: SELECT on a table is SELECT on all its columns, and columns add up.

    Everything that has to do with one table is under one key, for AWS lists column grants by their table.
    """

    def __init__(self, catalog_id: str) -> None:
        self._catalog_id = catalog_id
        self._held: dict[str, dict[str, dict[_Part, _Held]]] = {}

    def grant(self, principal: str, resource: dict[str, Any], permissions: list[str], grantable: list[str]) -> None:
        parts = self._held.setdefault(self._key(resource), {}).setdefault(principal, defaultdict(_Held))
        for part, names in _parts(resource, permissions):
            parts[part].permissions |= names
        for part, names in _parts(resource, grantable):
            parts[part].grantable |= names

    def revoke(self, principal: str, resource: dict[str, Any], permissions: list[str], grantable: list[str]) -> None:
        """Raises InvalidInput where there is nothing to revoke, which is how Terraform learns that a revoke is done."""
        key = self._key(resource)
        parts = self._held.get(key, {}).get(principal, {})
        wanted = _parts(resource, permissions)
        missing = [name for part, names in wanted for name in names - parts.get(part, _Held()).permissions]
        if len(missing) == sum(len(names) for _, names in wanted):
            raise InvalidInput("No permissions revoked. Grantee has no permissions on the resource.")
        if missing:
            raise InvalidInput(f"No permissions revoked. Grantee does not have: {sorted(set(missing))}")
        for part, names in wanted:
            parts[part].permissions -= names
            parts[part].grantable -= names
        for part, names in _parts(resource, grantable):
            if part in parts:
                parts[part].grantable -= names
        for part in [part for part, held in parts.items() if not held.permissions]:
            del parts[part]
        if not parts:
            del self._held[key][principal]

    def forget(self, resource: dict[str, Any]) -> None:
        """The resource is gone."""
        self._held.pop(self._key(resource), None)

    def entries(self, principal: str | None, resource: dict[str, Any] | None, resource_type: str | None) -> Iterator[dict[str, Any]]:
        """Entries in AWS's form, of one resource at the cost of its own grants."""
        for key in list(self._held) if resource is None else [self._key(resource)]:
            identity = json.loads(key)
            if resource_type not in (None, _TYPES.get(next(iter(identity)))):
                continue
            by_principal = self._held.get(key, {})
            for name in list(by_principal) if principal is None else [principal] if principal in by_principal else []:
                yield from _entries(identity, name, by_principal[name])

    def _key(self, resource: dict[str, Any]) -> str:
        (kind, fields) = next(iter(resource.items()))
        identity = {"CatalogId": self._catalog_id, **fields}
        if kind in ("Table", "TableWithColumns"):
            kind = "Table"
            identity = {name: value for name, value in identity.items() if name not in ("ColumnNames", "ColumnWildcard")}
            if "TableWildcard" in identity:
                identity["Name"] = "ALL_TABLES"
        return json.dumps({kind: {} if kind == "Catalog" else identity}, sort_keys=True)


_TYPES = {"Catalog": "CATALOG", "Database": "DATABASE", "Table": "TABLE", "DataLocation": "DATA_LOCATION"}


def _parts(resource: dict[str, Any], permissions: list[str]) -> list[tuple[_Part, set[str]]]:
    (kind, fields) = next(iter(resource.items()))
    rest, select = set(permissions), set(permissions) & {"SELECT"}
    parts: list[tuple[_Part, set[str]]] = []
    if kind in ("Table", "TableWithColumns"):
        rest -= select
        excluded = (fields.get("ColumnWildcard") or {}).get("ExcludedColumnNames") or []
        columns = fields.get("ColumnNames")
        parts = [(("column", column), select) for column in columns] if columns else [(("wildcard", *sorted(excluded)), select)]
    return [(part, names) for part, names in [((), rest), *parts] if names]


def _entries(identity: dict[str, Any], principal: str, parts: dict[_Part, _Held]) -> Iterator[dict[str, Any]]:
    columns: dict[bool, list[str]] = defaultdict(list)

    def entry(resource: dict[str, Any], permissions: Iterable[str], grantable: Iterable[str]) -> dict[str, Any]:
        return {
            "Principal": {"DataLakePrincipalIdentifier": principal},
            "Resource": resource,
            "Permissions": sorted(permissions),
            "PermissionsWithGrantOption": sorted(grantable),
        }

    for part, held in parts.items():
        if not part:
            yield entry(identity, held.permissions, held.grantable)
        elif part[0] == "wildcard":
            wildcard = {"ExcludedColumnNames": list(part[1:])} if part[1:] else {}
            table = {name: value for name, value in identity["Table"].items() if name != "TableWildcard"}
            yield entry({"TableWithColumns": {**table, "ColumnWildcard": wildcard}}, held.permissions, held.grantable)
        else:
            columns["SELECT" in held.grantable].append(part[1])
    for grantable, names in columns.items():
        table_with_columns = {"TableWithColumns": {**identity["Table"], "ColumnNames": sorted(names)}}
        yield entry(table_with_columns, ["SELECT"], ["SELECT"] if grantable else [])


def _grants(backend: LakeFormationBackend, catalog_id: str) -> _Grants:
    with LOCK:
        return backend.grants.setdefault(catalog_id, _Grants(catalog_id))  # type: ignore[arg-type,return-value]


def _lake_formation_lists_and_revokes_as_aws_does() -> None:
    """moto lists no column grants for a table, so that Terraform waits for its own grant until it gives up; it revokes what is not
    there without a word, so that Terraform revokes until it gives up; it compares each grant with every other; it grants on tables
    and columns that do not exist; it never says that a grant of a batch failed; and it lists everything as one page."""

    def must_exist(self: LakeFormationResponse, resource: dict[str, Any]) -> None:
        database, table = resource.get("Database"), resource.get("Table") or resource.get("TableWithColumns")
        glue = glue_backends[self.current_account][self.region]
        try:
            if database is not None:
                glue.get_database(database["Name"])
            if table is not None and "TableWildcard" not in table:
                live = glue.get_table(table["DatabaseName"], table["Name"]).as_dict()
                columns = {column["Name"] for column in live.get("StorageDescriptor", {}).get("Columns", [])}
                columns |= {column["Name"] for column in live.get("PartitionKeys", [])}
                if unknown := sorted(set(table.get("ColumnNames") or []) - columns):
                    raise InvalidInput(
                        f"Permissions modification is invalid: cannot grant/revoke permission on non-existent column {unknown}."
                    )
        except EntityNotFoundException:
            raise EntityNotFound from None

    def change(self: LakeFormationResponse, entry: dict[str, Any], catalog_id: str | None, granted: bool) -> None:
        grants = _grants(self.lakeformation_backend, catalog_id or self.current_account)
        if granted:
            must_exist(self, entry["Resource"])
        permissions, grantable = entry.get("Permissions") or [], entry.get("PermissionsWithGrantOption") or []
        do = grants.grant if granted else grants.revoke
        do(entry["Principal"]["DataLakePrincipalIdentifier"], entry["Resource"], permissions, grantable)

    def one(granted: bool) -> Callable[[LakeFormationResponse], str]:
        def action(self: LakeFormationResponse) -> str:
            asked = json.loads(self.body)
            change(self, asked, asked.get("CatalogId"), granted)
            return "{}"

        return action

    def batch(granted: bool) -> Callable[[LakeFormationResponse], str]:
        def action(self: LakeFormationResponse) -> str:
            asked = json.loads(self.body)
            failures = []
            for entry in asked["Entries"]:
                try:
                    change(self, entry, asked.get("CatalogId"), granted)
                except JsonRESTError as error:
                    failure = {"ErrorCode": error.error_type, "ErrorMessage": error.message}
                    failures.append({"RequestEntry": entry, "Error": failure})
            return json.dumps({"Failures": failures})

        return action

    def list_permissions(self: LakeFormationResponse) -> str:
        asked = json.loads(self.body)
        principal, resource = asked.get("Principal"), asked.get("Resource")
        if principal is not None and resource is None:
            raise InvalidInput("Resource is mandatory if Principal is set in the input.")
        grants = _grants(self.lakeformation_backend, asked.get("CatalogId") or self.current_account)
        found = list(grants.entries(principal and principal["DataLakePrincipalIdentifier"], resource, asked.get("ResourceType")))
        start, size = int(asked.get("NextToken") or 0), int(asked.get("MaxResults") or 100)
        more = {"NextToken": str(start + size)} if start + size < len(found) else {}
        return json.dumps({"PrincipalResourcePermissions": found[start : start + size], **more})

    _replace(LakeFormationResponse, list_permissions=list_permissions, grant_permissions=one(True), revoke_permissions=one(False))
    _replace(LakeFormationResponse, batch_grant_permissions=batch(True), batch_revoke_permissions=batch(False))


def _lake_formation_remembers_registrations() -> None:
    """moto forgets a registration's options (hybrid access, federation), and cannot update it."""
    options = ("WithFederation", "HybridAccessEnabled")
    register, to_dict = LakeFormationResponse.register_resource, Resource.to_dict

    def remember(self: LakeFormationResponse) -> None:
        asked = json.loads(self.body)
        resource = self.lakeformation_backend.describe_resource(asked["ResourceArn"])
        resource.role_arn = asked.get("RoleArn", resource.role_arn)
        resource.__dict__.setdefault("options", {}).update({name: asked[name] for name in options if name in asked})

    def register_resource(self: LakeFormationResponse) -> str:
        answer = register(self)
        remember(self)
        return answer

    def update_resource(self: LakeFormationResponse) -> str:
        remember(self)
        return "{}"

    _replace(LakeFormationResponse, register_resource=register_resource, update_resource=update_resource)
    _replace(Resource, to_dict=lambda self: {**to_dict(self), **self.__dict__.get("options", {})})
    lake_formation_urls.url_paths["{0}/UpdateResource$"] = lake_formation_urls.response.dispatch


def _athena_updates_work_groups() -> None:
    """moto has no UpdateWorkGroup."""

    def apply(target: dict[str, Any], updates: dict[str, Any]) -> None:
        for name, value in updates.items():
            if name.startswith("Remove"):
                if value:
                    target.pop(name.removeprefix("Remove"), None)
            elif name.endswith("Updates"):
                apply(target.setdefault(name.removesuffix("Updates"), {}), value)
            else:
                target[name] = value

    def update_work_group(self: AthenaResponse) -> str:
        asked = json.loads(self.body)
        work_group = self.athena_backend.work_groups.get(asked["WorkGroup"])
        if work_group is None:
            raise JsonRESTError("InvalidRequestException", f"WorkGroup {asked['WorkGroup']} is not found.")
        work_group.description = asked.get("Description", work_group.description)
        work_group.state = asked.get("State", work_group.state)
        apply(work_group.configuration, asked.get("ConfigurationUpdates") or {})
        return "{}"

    _replace(AthenaResponse, update_work_group=update_work_group)


def _athena_updates_and_deletes_named_queries() -> None:
    """moto has no UpdateNamedQuery and no DeleteNamedQuery, and GetNamedQuery of one that is not there is a 500."""
    get = AthenaResponse.get_named_query

    def known(self: AthenaResponse) -> dict[str, Any]:
        asked = json.loads(self.body)
        if asked["NamedQueryId"] not in self.athena_backend.named_queries:
            raise JsonRESTError("InvalidRequestException", f"NamedQuery {asked['NamedQueryId']} was not found.")
        return asked

    def get_named_query(self: AthenaResponse) -> str:
        known(self)
        return get(self)

    def update_named_query(self: AthenaResponse) -> str:
        asked = known(self)
        query = self.athena_backend.named_queries[asked["NamedQueryId"]]
        query.name, query.query_string = asked["Name"], asked["QueryString"]
        query.description = asked.get("Description", query.description)
        return "{}"

    def delete_named_query(self: AthenaResponse) -> str:
        del self.athena_backend.named_queries[known(self)["NamedQueryId"]]
        return "{}"

    actions = (get_named_query, update_named_query, delete_named_query)
    _replace(AthenaResponse, **{action.__name__: action for action in actions})


def _athena_work_groups_may_have_no_tags() -> None:
    """moto says of a resource without tags that it does not exist."""
    list_tags = AthenaBackend.list_tags_for_resource

    def list_tags_for_resource(self: AthenaBackend, resource_arn: str) -> dict[str, Any] | None:
        known = any(work_group.arn == resource_arn for work_group in self.work_groups.values())
        return list_tags(self, resource_arn) or ({"Tags": []} if known else None)

    _replace(AthenaBackend, list_tags_for_resource=list_tags_for_resource)


def _s3_ignores_statements_about_tls() -> None:
    """moto does not evaluate conditions: a bucket that denies what comes without TLS would deny every call, and this server has no TLS."""
    conditions = {"aws:SecureTransport", "s3:TlsVersion"}

    @functools.lru_cache(maxsize=256)
    def parsed(policy: bytes) -> IAMPolicy:
        document = json.loads(policy)
        statements = document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]
        kept = [s for s in statements if not any(conditions & set(values) for values in s.get("Condition", {}).values())]
        return IAMPolicy(json.dumps({**document, "Statement": kept}))

    def get_permission(self: FakeBucket, action: str, resource: str) -> PermissionResult:
        return PermissionResult.NEUTRAL if self.policy is None else parsed(self.policy).is_action_permitted(action, resource)

    _replace(FakeBucket, get_permission=get_permission)


def _s3_log_buckets_may_have_any_policy() -> None:
    """moto reads the log bucket's policy literally: ``Principal: "*"`` is a 500, a list or ``<bucket>/s3/*`` gives no permission."""

    def several(value: Any) -> list[Any]:
        return value if isinstance(value, list) else [] if value is None else [value]

    def permitted(target_bucket: FakeBucket, target_prefix: str | None) -> bool:
        log = f"arn:{target_bucket.partition}:s3:::{target_bucket.name}/{target_prefix or ''}log"
        return any(
            statement["Effect"] == "Allow"
            and isinstance(statement.get("Principal"), dict)
            and "logging.s3.amazonaws.com" in several(statement["Principal"].get("Service"))
            and {"s3:PutObject", "s3:*"} & set(several(statement.get("Action")))
            and any(fnmatch.fnmatchcase(log, pattern) for pattern in several(statement.get("Resource")))
            for statement in several(json.loads(target_bucket.policy or "{}").get("Statement"))
        )

    FakeBucket._log_permissions_enabled_policy = staticmethod(permitted)  # type: ignore[method-assign]


def _ecs_services_run() -> None:
    """In moto no task ever runs, so that Terraform waits for the service; and it forgets some of what a service is created with."""
    remembered = {
        "healthCheckGracePeriodSeconds": "health_check_grace_period_seconds",
        "availabilityZoneRebalancing": "availability_zone_rebalancing",
        "deploymentConfiguration": "deployment_configuration",
    }
    create = EC2ContainerServiceResponse.create_service

    def create_service(self: EC2ContainerServiceResponse) -> ActionResult:
        answer, asked = create(self), json.loads(self.body)
        service: Service = answer.result["service"]  # type: ignore[index]
        service.running_count, service.pending_count = service.desired_count, 0
        for deployment in service.deployments:
            deployment.update(runningCount=service.desired_count, pendingCount=0, rolloutState="COMPLETED")
        for name, attribute in remembered.items():
            if name in asked:
                setattr(service, attribute, asked[name])
        return answer

    _replace(EC2ContainerServiceResponse, create_service=create_service)


def _autoscaling_targets_have_tags() -> None:
    """moto has none of the tag calls of Application Auto Scaling."""
    register = ApplicationAutoScalingResponse.register_scalable_target

    def tags(self: ApplicationAutoScalingResponse, arn: str) -> dict[str, str]:
        targets = [target for by_id in self.applicationautoscaling_backend.targets.values() for target in by_id.values()]
        found = next((target for target in targets if target.arn == arn), None)
        if found is None:
            raise JsonRESTError("ResourceNotFoundException", f"No scalable target has the ARN {arn}.")
        return found.__dict__.setdefault("tags", {})

    def register_scalable_target(self: ApplicationAutoScalingResponse) -> str:
        answer = register(self)
        tags(self, json.loads(answer)["ScalableTargetARN"]).update(json.loads(self.body).get("Tags") or {})
        return answer

    def list_tags_for_resource(self: ApplicationAutoScalingResponse) -> str:
        return json.dumps({"Tags": tags(self, json.loads(self.body)["ResourceARN"])})

    def tag_resource(self: ApplicationAutoScalingResponse) -> str:
        asked = json.loads(self.body)
        tags(self, asked["ResourceARN"]).update(asked["Tags"])
        return "{}"

    def untag_resource(self: ApplicationAutoScalingResponse) -> str:
        asked = json.loads(self.body)
        for key in asked["TagKeys"]:
            tags(self, asked["ResourceARN"]).pop(key, None)
        return "{}"

    actions = (register_scalable_target, list_tags_for_resource, tag_resource, untag_resource)
    _replace(ApplicationAutoScalingResponse, **{action.__name__: action for action in actions})


def _security_group_rules_keep_their_descriptions() -> None:
    """moto shows a rule's description only where the rule is about addresses, not about another group or a prefix list."""
    init = SecurityGroupRule.__init__

    def __init__(self: SecurityGroupRule, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        init(self, *args, **kwargs)
        about = [self.ip_range, self.source_group, *(argument for argument in args if isinstance(argument, dict))]
        self.__dict__["created_as"] = next((str(one["Description"]) for one in about if one.get("Description")), None)

    def description(self: SecurityGroupRule) -> str | None:
        return self.ip_range.get("Description") or self.source_group.get("Description") or self.__dict__.get("created_as")

    _replace(SecurityGroupRule, __init__=__init__)
    SecurityGroupRule.description = property(description)  # type: ignore[assignment]


def _dynamodb_updates_keep_bytes() -> None:
    """An update without an expression makes bytes text, which Nessie does not read once it has forgotten what it wrote."""
    update = Item.update_with_attribute_updates

    def update_with_attribute_updates(self: Item, attribute_updates: dict[str, Any]) -> None:
        update(self, attribute_updates)
        for name, change in attribute_updates.items():
            if change.get("Action", "PUT") == "PUT" and "B" in change.get("Value", {}):
                self.attrs[name] = DynamoType(change["Value"])

    _replace(Item, update_with_attribute_updates=update_with_attribute_updates)
