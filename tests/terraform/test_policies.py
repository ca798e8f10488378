"""What each role may and may not do: the policies that Terraform made, read from IAM and S3, and evaluated.

A request is ``<action> <resource>``, with the ARNs shortened (``Access.arn``); by default it is what a client sends: over TLS, in
this account, and to the key through S3.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from aws_server import AwsServer
from terraform_cli import Terraform

from lakehouse.iam_policies import Policy, is_allowed

ACCOUNT, REGION = "123456789012", "eu-central-1"
ROLES = ("reader", "writer", "admin")
BUCKETS = ("warehouse", "landing", "results", "logs")
GITHUB = "token.actions.githubusercontent.com"
ANALYSTS, PLATFORM = f"arn:aws:iam::{ACCOUNT}:role/analysts", "arn:aws:iam::444455556666:role/platform"
TRUST = {
    "reader": {"principals": [ANALYSTS]},
    "writer": {"services": ["ecs-tasks.amazonaws.com"]},
    "admin": {
        "principals": [PLATFORM],
        "external_id": "lakehouse-admin",
        "oidc": {"provider_arn": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{GITHUB}", "subjects": ["repo:example/lake:ref:refs/heads/main"]},
    },
}


@dataclass(frozen=True)
class Access:
    """Everything that decides on access, as AWS has it."""

    roles: dict[str, list[Policy]]
    trust: dict[str, Policy]
    buckets: dict[str, Policy]
    key_arn: str

    def allows(self, role: str, request: str, also: Iterable[Policy] = (), **context: str) -> bool:
        """Whether a role may do it, with the policies in ``also`` attached to it."""
        action, resource = request.split(" ")
        arn = self.arn(resource)
        sent = {"aws:SecureTransport": "true", "aws:ResourceAccount": ACCOUNT, "kms:ViaService": f"s3.{REGION}.amazonaws.com"}
        sent |= {name.replace("_", ":"): value for name, value in context.items()}
        of_bucket = [policy for name, policy in self.buckets.items() if arn.split("/")[0] == self.arn(f"s3:{name}")]
        principal = f"arn:aws:iam::{ACCOUNT}:role/lakehouse-{role}"
        return is_allowed([*self.roles.get(role, []), *also, *of_bucket], action, arn, sent, principal)

    def arn(self, resource: str) -> str:
        """``s3:warehouse/x``, ``glue:table/lakehouse/x``, ``workgroup:reader``, ``role:reader``, ``key``, or an ARN, or ``*``."""
        service, _, rest = resource.partition(":")
        return {
            "s3": f"arn:aws:s3:::example-{rest}",
            "glue": f"arn:aws:glue:{REGION}:{ACCOUNT}:{rest}",
            "workgroup": f"arn:aws:athena:{REGION}:{ACCOUNT}:workgroup/lakehouse-{rest}",
            "role": f"arn:aws:iam::{ACCOUNT}:role/lakehouse-{rest}",
            "key": self.key_arn,
        }.get(service, resource)

    def trusts(self, role: str, kind: str, who: str, action: str = "sts:AssumeRole", **context: str) -> bool:
        """Whether a principal, by its kind (AWS, Service, Federated), may assume a role."""
        # Statements about roles themselves name no resource.
        about = [
            {**{key: value for key, value in statement.items() if key != "Principal"}, "Resource": "*"}
            for statement in self.trust[role]["Statement"]
            if {who, "*"} & set(_several(statement["Principal"].get(kind)))
        ]
        return is_allowed([{"Statement": about}], action, "*", {name.replace("__", ":"): value for name, value in context.items()})


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.fixture(scope="module")
def access(aws: AwsServer, aws_root: Callable[..., Terraform], client: Callable[[str], Any]) -> Access:
    """The policies after an apply of all that has some, and of what that needs."""
    root = aws_root(bucket_prefix="example", trust=TRUST, manage_lakeformation_settings=True)
    targets = (
        "module.iam.aws_iam_role_policy.this",
        "module.iam.aws_iam_role_policy.registration",
        "module.storage.aws_s3_bucket_policy.this",
    )
    run = root.apply(*(f"-target={target}" for target in targets))
    assert run.ok, "\n".join(run.errors)
    iam, s3 = client("iam"), client("s3")
    roles, trust = {}, {}
    for role in (*ROLES, "registration"):
        name = f"lakehouse-{role}"
        names = iam.list_role_policies(RoleName=name)["PolicyNames"]
        roles[role] = [iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"] for policy in names]
        trust[role] = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
        assert iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == []
    buckets = {name: json.loads(s3.get_bucket_policy(Bucket=f"example-{name}")["Policy"]) for name in BUCKETS}
    (key,) = client("kms").list_keys()["Keys"]
    return Access(roles, trust, buckets, key["KeyArn"])


FILE = "lakehouse/event_stream/data/1.parquet"
CATALOG = ("glue:catalog", "glue:database/lakehouse", "glue:table/lakehouse/event_stream")
NO_ONE_MAY = [
    *(f"{action} key" for action in ("kms:ScheduleKeyDeletion", "kms:DisableKey", "kms:PutKeyPolicy", "kms:CreateGrant")),
    *(f"s3:DeleteBucket s3:{bucket}" for bucket in BUCKETS),
    *(f"s3:PutBucketPolicy s3:{bucket}" for bucket in BUCKETS),
    *(f"s3:{action} s3:warehouse" for action in ("PutBucketVersioning", "PutLifecycleConfiguration", "PutEncryptionConfiguration")),
    *(f"s3:DeleteObjectVersion s3:{bucket}/{FILE}" for bucket in BUCKETS),
    *(f"s3:{action} s3:logs/s3/1" for action in ("GetObject", "PutObject", "DeleteObject")),
    *(f"s3:{action} s3:landing/event_stream/1.jsonl" for action in ("PutObject", "DeleteObject")),
    *(f"s3:GetObject arn:aws:s3:::{bucket}/x" for bucket in ("another-bucket", "example-warehouse-2", "example")),
    *(f"{action} role:{role}" for role in ROLES for action in ("iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:UpdateAssumeRolePolicy")),
    *(f"{action} role:{role}" for role in (*ROLES, "registration") for action in ("iam:PassRole", "sts:AssumeRole")),
    *(
        f"{action} *"
        for action in ("lakeformation:PutDataLakeSettings", "lakeformation:RegisterResource", "lakeformation:DeregisterResource")
    ),
    *(f"{action} glue:database/lakehouse" for action in ("glue:CreateDatabase", "glue:DeleteDatabase")),
    "glue:GetTable glue:table/another/table",
    "glue:PutDataCatalogEncryptionSettings *",
    "cloudtrail:StopLogging *",
]
MAY = {
    "reader": [
        *(f"{action} {resource}" for action in ("glue:GetDatabase", "glue:GetTable", "glue:GetPartitions") for resource in CATALOG),
        "glue:GetDatabase glue:database/default",
        "lakeformation:GetDataAccess *",
        *(
            f"athena:{action} workgroup:reader"
            for action in ("StartQueryExecution", "StopQueryExecution", "GetQueryResults", "GetWorkGroup")
        ),
        "s3:GetObject s3:results/reader/1.csv",
        "s3:PutObject s3:results/reader/1.csv",
        "s3:GetBucketLocation s3:results",
        *(f"{action} key" for action in ("kms:Decrypt", "kms:GenerateDataKey")),
    ],
    "writer": [
        *(f"{action} {resource}" for action in ("glue:GetTable", "glue:UpdateTable") for resource in CATALOG),
        "lakeformation:GetDataAccess *",
        *(f"s3:{action} s3:warehouse/{FILE}" for action in ("GetObject", "PutObject", "DeleteObject", "AbortMultipartUpload")),
        *(f"s3:{action} s3:warehouse/_lakehouse/ledger/1.parquet" for action in ("GetObject", "PutObject")),
        *(f"s3:{action} s3:warehouse" for action in ("ListBucket", "GetBucketLocation")),
        "s3:ListBucket s3:landing",
        "s3:GetObject s3:landing/event_stream/1.jsonl",
        "athena:StartQueryExecution workgroup:writer",
        "s3:PutObject s3:results/writer/1.csv",
        *(f"{action} key" for action in ("kms:Decrypt", "kms:GenerateDataKey")),
    ],
    "admin": [
        *(f"{action} {resource}" for action in ("glue:CreateTable", "glue:UpdateTable", "glue:DeleteTable") for resource in CATALOG),
        *(f"s3:{action} s3:warehouse/{FILE}" for action in ("GetObject", "PutObject", "DeleteObject")),
        "s3:GetBucketPolicy s3:warehouse",
        *(
            f"lakeformation:{action} *"
            for action in (
                "GetDataAccess",
                "ListPermissions",
                "GrantPermissions",
                "RevokePermissions",
                "BatchRevokePermissions",
                "GetDataLakeSettings",
            )
        ),
        *(f"iam:{action} role:reader" for action in ("GetRole", "ListRolePolicies", "GetRolePolicy", "ListAttachedRolePolicies")),
        "athena:StartQueryExecution workgroup:admin",
        "s3:GetObject s3:results/admin/1.csv",
        *(f"{action} key" for action in ("kms:Decrypt", "kms:GenerateDataKey")),
    ],
}
MAY_NOT = {
    "reader": [
        *(
            f"s3:{action} s3:{bucket}/{FILE}"
            for bucket in ("warehouse", "landing")
            for action in ("GetObject", "PutObject", "DeleteObject")
        ),
        *(f"s3:{action} s3:{bucket}" for bucket in ("warehouse", "landing") for action in ("ListBucket", "ListBucketVersions")),
        *(f"s3:{action} s3:results/{role}/1.csv" for role in ("writer", "admin") for action in ("GetObject", "PutObject")),
        "s3:GetObject s3:results/readers/1.csv",
        "s3:DeleteObject s3:results/reader/1.csv",
        *(f"athena:{action} workgroup:{role}" for role in ("writer", "admin") for action in ("StartQueryExecution", "GetQueryResults")),
        "athena:StartQueryExecution workgroup:primary",
        *(f"athena:{action} workgroup:reader" for action in ("UpdateWorkGroup", "DeleteWorkGroup")),
        *(
            f"glue:{action} {resource}"
            for action in ("CreateTable", "UpdateTable", "DeleteTable", "UpdateDatabase")
            for resource in CATALOG
        ),
        *(f"lakeformation:{action} *" for action in ("GrantPermissions", "BatchGrantPermissions", "RevokePermissions", "ListPermissions")),
        "iam:GetRole role:reader",
    ],
    "writer": [
        *(
            f"glue:{action} {resource}"
            for action in ("CreateTable", "DeleteTable", "BatchDeleteTable", "UpdateDatabase")
            for resource in CATALOG
        ),
        *(f"lakeformation:{action} *" for action in ("GrantPermissions", "BatchGrantPermissions", "RevokePermissions", "ListPermissions")),
        *(f"s3:{action} s3:results/{role}/1.csv" for role in ("reader", "admin") for action in ("GetObject", "PutObject")),
        *(f"athena:StartQueryExecution workgroup:{role}" for role in ("reader", "admin")),
        "logs:PutLogEvents *",
    ],
    "admin": [
        *(f"s3:{action} s3:results/{role}/1.csv" for role in ("reader", "writer") for action in ("GetObject", "PutObject")),
        *(f"athena:{action} workgroup:{role}" for role in ("reader", "writer") for action in ("StartQueryExecution", "GetQueryResults")),
        *(f"athena:{action} workgroup:admin" for action in ("UpdateWorkGroup", "DeleteWorkGroup")),
        *(f"iam:GetRole role:{role}" for role in ("writer", "admin")),
        "iam:CreateRole *",
        "iam:PutUserPolicy *",
    ],
}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_its_work(role: str, access: Access) -> None:
    assert [request for request in MAY[role] if not access.allows(role, request)] == []


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_nothing_else(role: str, access: Access) -> None:
    assert [request for request in [*MAY_NOT[role], *NO_ONE_MAY] if access.allows(role, request)] == []


def test_whatever_is_attached_to_the_reader_it_reaches_no_file_of_a_table(access: Access) -> None:
    everything: Policy = {"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    assert access.allows("reader", "s3:GetObject s3:results/reader/1.csv", [everything])
    files = [f"s3:{bucket}{key}" for bucket in ("warehouse", "landing") for key in ("", "/x", f"/{FILE}")]
    actions = ("s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket", "s3:PutBucketPolicy")
    requests = [f"{action} {file}" for action in actions for file in files]
    assert [request for request in requests if access.allows("reader", request, [everything])] == []


@pytest.mark.parametrize("role", ROLES)
def test_a_role_lists_its_own_results_only(role: str, access: Access) -> None:
    listed = {prefix: access.allows(role, "s3:ListBucket s3:results", s3_prefix=prefix) for prefix in ("", *(f"{name}/" for name in ROLES))}
    assert listed == {"": False, **{f"{name}/": name == role for name in ROLES}}


@pytest.mark.parametrize("role", ROLES)
def test_results_are_written_into_the_accounts_own_bucket_only(role: str, access: Access) -> None:
    assert not access.allows(role, f"s3:PutObject s3:results/{role}/1.csv", aws_ResourceAccount="444455556666")


@pytest.mark.parametrize("role", ROLES)
def test_the_key_is_used_through_services_only(role: str, access: Access) -> None:
    services = {
        name: access.allows(role, "kms:Decrypt key", kms_ViaService=f"{name}.{REGION}.amazonaws.com")
        for name in ("s3", "glue", "athena", "ec2")
    }
    assert services == {"s3": True, "glue": True, "athena": True, "ec2": False}
    assert not access.allows(role, "kms:Decrypt key", kms_ViaService="s3.us-east-1.amazonaws.com")
    assert not access.allows(role, "kms:Decrypt key", kms_ViaService="")
    assert not access.allows(role, f"kms:Decrypt arn:aws:kms:{REGION}:{ACCOUNT}:key/another")


def test_lake_formation_opens_files_and_no_more(access: Access) -> None:
    may = [f"s3:{action} s3:warehouse/{FILE}" for action in ("GetObject", "PutObject", "DeleteObject")] + ["kms:Decrypt key"]
    assert [request for request in may if not access.allows("registration", request)] == []
    may_not = [*NO_ONE_MAY, f"s3:GetObject s3:landing/{FILE}", "s3:GetObject s3:results/reader/1.csv", "lakeformation:GrantPermissions *"]
    assert [request for request in may_not if access.allows("registration", request)] == []


def test_only_those_whom_trust_names_assume_a_role(access: Access) -> None:
    principals = ("*", f"arn:aws:iam::{ACCOUNT}:root", ANALYSTS, PLATFORM, "arn:aws:iam::444455556666:root")
    trusted = {
        role: [who for who in principals if access.trusts(role, "AWS", who, sts__ExternalId="lakehouse-admin")] for role in access.trust
    }
    assert trusted == {"reader": [ANALYSTS], "writer": [], "admin": [PLATFORM], "registration": []}


def test_the_external_id_is_enforced(access: Access) -> None:
    assert access.trusts("admin", "AWS", PLATFORM, sts__ExternalId="lakehouse-admin")
    assert not access.trusts("admin", "AWS", PLATFORM)
    assert not access.trusts("admin", "AWS", PLATFORM, sts__ExternalId="another")


def test_services_assume_a_role_for_this_account_only(access: Access) -> None:
    services = {"writer": "ecs-tasks.amazonaws.com", "registration": "lakeformation.amazonaws.com"}
    for role in access.trust:
        for service in (*services.values(), "glue.amazonaws.com", "lambda.amazonaws.com"):
            assert access.trusts(role, "Service", service, aws__SourceAccount=ACCOUNT) == (services.get(role) == service), (role, service)
            assert not access.trusts(role, "Service", service, aws__SourceAccount="444455556666")


@pytest.mark.parametrize(
    ("subject", "audience", "trusted"),
    [
        ("repo:example/lake:ref:refs/heads/main", "sts.amazonaws.com", True),
        ("repo:example/lake:ref:refs/heads/other", "sts.amazonaws.com", False),
        ("repo:example/lake:pull_request", "sts.amazonaws.com", False),
        ("repo:somebody/lake:ref:refs/heads/main", "sts.amazonaws.com", False),
        ("repo:example/lake:ref:refs/heads/main", "another", False),
    ],
)
def test_the_subject_of_ci_is_enforced(subject: str, audience: str, trusted: bool, access: Access) -> None:
    provider, action = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{GITHUB}", "sts:AssumeRoleWithWebIdentity"
    token = {f"{GITHUB}__sub": subject, f"{GITHUB}__aud": audience}
    assert access.trusts("admin", "Federated", provider, action, **token) is trusted
    assert not any(access.trusts(role, "Federated", provider, action, **token) for role in access.trust if role != "admin")


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_bucket_answers_over_tls_only(bucket: str, access: Access) -> None:
    everything: Policy = {"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    for request in (f"s3:GetObject s3:{bucket}/x", f"s3:PutObject s3:{bucket}/x", f"s3:ListBucket s3:{bucket}"):
        assert access.allows("deployer", request, [everything])
        assert not access.allows("deployer", request, [everything], aws_SecureTransport="false")


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_buckets_policy_opens_it_to_nobody(bucket: str, access: Access) -> None:
    stranger = "arn:aws:iam::444455556666:role/stranger"
    for action, key in (("s3:GetObject", "/x"), ("s3:PutObject", "/x"), ("s3:ListBucket", "")):
        arn = access.arn(f"s3:{bucket}{key}")
        assert not is_allowed([access.buckets[bucket]], action, arn, {"aws:SecureTransport": "true"}, stranger)
