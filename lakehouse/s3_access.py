"""Whether a role reaches the warehouse's files past Lake Formation, by its own IAM policies or by the bucket's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from lakehouse.grants import Finding
from lakehouse.iam_policies import Context, Policy, may_be_allowed

_OBJECT_ACTIONS = ("s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion")


def s3_findings(client: Callable[[str], Any], role: str, warehouse: str, databases: Iterable[str]) -> list[Finding]:
    """A finding for each database whose files the role may list, read, write or delete by itself. Raises what boto3 does.

    Service control policies are not looked at. What depends on conditions that are not known here counts as allowed.

    Args:
        client: makes a boto3 client of a service.
        role: the role's ARN.
        warehouse: its ARN, without a slash at the end; tables are at ``<warehouse>/<database>/<table>``.
    """
    bucket, _, prefix = warehouse.partition("/")
    policies, boundary = _policies_of(client("iam"), role.rsplit("/", 1)[-1])
    if (of_bucket := _bucket_policy(client("s3"), bucket.rsplit(":", 1)[-1])) is not None:
        policies["the bucket's policy"] = of_bucket
    findings = []
    for database in databases:
        folder = "/".join(filter(None, (prefix, database)))
        asked = [(action, f"{bucket}/{folder}/*") for action in _OBJECT_ACTIONS] + [("s3:ListBucket", bucket)]
        context: Context = {
            "aws:PrincipalArn": role,
            "aws:PrincipalAccount": role.split(":")[4],
            "aws:SecureTransport": "true",
            "s3:prefix": ["", f"{folder}/", f"{folder}/x"],
        }

        def allowed(documents: Iterable[Policy], action: str, resource: str, context: Context = context) -> bool:
            return may_be_allowed(documents, action, resource, context, role)

        open_ = [
            (action, resource)
            for action, resource in asked
            if allowed(policies.values(), action, resource)
            # A boundary does not bind what a bucket's policy allows a session of the role.
            and (boundary is None or allowed([boundary], action, resource) or (of_bucket and allowed([of_bucket], action, resource)))
        ]
        if open_:
            actions = tuple(action for action, _ in open_)
            where = f"{bucket.rsplit(':', 1)[-1]}/{folder}/"
            by = [name for name, document in policies.items() if any(allowed([document], *what) for what in open_)]
            findings.append(
                Finding(
                    "s3",
                    f"The reader role reaches the files in {where} past Lake Formation, by {' and '.join(by)}.",
                    f"Remove {', '.join(actions)} on it there: readers get what they may read through Lake Formation.",
                    database,
                    principal=role,
                    permissions=actions,
                )
            )
    return findings


def _policies_of(iam: Any, role: str) -> tuple[dict[str, Policy], Policy | None]:
    """The documents of a role's inline and attached policies by what people call them, and its permissions boundary."""

    def managed(arn: str) -> Policy:
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        document: Policy = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        return document

    policies: dict[str, Policy] = {}
    for page in iam.get_paginator("list_role_policies").paginate(RoleName=role):
        for name in page["PolicyNames"]:
            policies[f"its inline policy {name}"] = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    for page in iam.get_paginator("list_attached_role_policies").paginate(RoleName=role):
        for policy in page["AttachedPolicies"]:
            policies[f"its policy {policy['PolicyArn']}"] = managed(policy["PolicyArn"])
    boundary = iam.get_role(RoleName=role)["Role"].get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
    return policies, managed(boundary) if boundary else None


def _bucket_policy(s3: Any, bucket: str) -> Policy | None:
    try:
        document: Policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
    except s3.exceptions.ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchBucketPolicy":
            return None
        raise
    return document
