"""What Terraform tells the Nessie server, read from a plan, so that a test can start the real server with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def container_environment(plan: Mapping[str, Any]) -> dict[str, str]:
    """The environment of Nessie's container, secrets left out, from the JSON of a plan (``terraform show -json``).

    With ``nessie_version_store = "postgres"`` a plan knows it only when there is a database: take one from after the apply.

    Raises:
        LookupError: the plan has no such container, or does not know its environment yet.
    """
    return {variable["name"]: variable["value"] for variable in container(plan)["environment"]}


def on_this_machine(environment: Mapping[str, str], aws_endpoint: str) -> dict[str, str]:
    """The same environment for a server beside the tests' AWS: its endpoints, a login, and no ports, which ``NessieServer`` chooses."""
    s3 = "nessie.catalog.service.s3.default-options"
    return {
        **{name: value for name, value in environment.items() if name not in ("quarkus.http.port", "quarkus.management.port")},
        f"{s3}.endpoint": aws_endpoint,
        f"{s3}.sts-endpoint": aws_endpoint,
        f"{s3}.path-style-access": "true",
        "quarkus.dynamodb.endpoint-override": aws_endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }


def container(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The definition of Nessie's container, as ECS gets it. Raises LookupError as above."""
    for resource in _resources(plan["planned_values"]["root_module"]):
        if resource["type"] == "aws_ecs_task_definition" and resource["address"].startswith("module.nessie["):
            definitions = resource["values"].get("container_definitions")
            if definitions is None:
                raise LookupError("The plan does not know the environment yet: its database has no address before the apply.")
            found: dict[str, Any] = json.loads(definitions)[0]
            return found
    raise LookupError('The plan has no task definition of Nessie: set catalog_type = "nessie".')


def _resources(module: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from _resources(child)
