"""BigQuery and Data Catalog's policy tags for the tests, on 127.0.0.1: what the real client libraries are given, and what they sent.

It holds to the contract of https://cloud.google.com/bigquery/docs/reference/rest for datasets, tables (with etags) and queries, which
DuckDB answers over the registered Iceberg metadata, and refuses a column whose policy tag the caller may not read.
"""

from __future__ import annotations

import fnmatch
import itertools
import json
import threading
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from bigquery_queries import RefusedError, answer_query, read_rows
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.cloud import bigquery
from google.oauth2 import service_account

PROJECT, LOCATION = "lake-project", "europe-west3"
CONNECTION = f"projects/{PROJECT}/locations/{LOCATION}/connections/lakehouse"
TAXONOMY = f"projects/{PROJECT}/locations/{LOCATION}/taxonomies/1"
CATALOG = f"projects/{PROJECT}/catalogs/warehouse"
RESTRICTED, INTERNAL = f"{TAXONOMY}/policyTags/10", f"{TAXONOMY}/policyTags/20"
READER, WRITER, ADMIN = (f"lakehouse-{role}@{PROJECT}.iam.gserviceaccount.com" for role in ("reader", "writer", "admin"))
POLICY_APIS = ("DATACATALOG", "BIGQUERYCONNECTION", "BIGLAKE", "CLOUDRESOURCEMANAGER")
FINE_GRAINED_READER = "roles/datacatalog.categoryFineGrainedReader"
_CUSTOM = f"projects/{PROJECT}/roles/lakehouse_{{}}"
# What a role on a dataset lets its holder do with the tables there.
_READS = frozenset({"get", "list", "query"})
_MAY = {
    "READER": _READS,
    "WRITER": _READS | {"insert", "patch", "delete"},
    "OWNER": _READS | {"insert", "patch", "delete"},
    "roles/bigquery.dataViewer": _READS,
    _CUSTOM.format("tables_mover"): frozenset({"patch"}),
    _CUSTOM.format("tables_admin"): _READS | {"insert", "patch", "delete"},
}
_REASONS = {400: "invalid", 401: "authError", 403: "accessDenied", 404: "notFound", 409: "duplicate", 412: "conditionNotMet",
            429: "rateLimitExceeded", 500: "internalError", 503: "backendError"}  # fmt: skip
_KEY = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@dataclass(frozen=True)
class Call:
    """One request that was answered.

    Attributes:
        name: ``PATCH tables/shop.orders``, ``POST tables/shop`` (insert), ``GET datasets/shop``, ``POST queries``, ``POST policies/<tag>``.
        caller: the service account.
    """

    name: str
    body: Any
    headers: Mapping[str, str]
    caller: str
    status: int

    @property
    def policy_tags(self) -> dict[str, list[str]]:
        """The policy tags of the schema that was sent, by the paths of its fields."""
        return dict(_tags((self.body.get("schema") or {}).get("fields") or []))


@dataclass
class Fault:
    """What goes wrong.

    Attributes:
        pattern: which calls it meets, a shell pattern over ``Call.name``.
        status: the answer's; None: there is none for ``delay`` seconds; 0: as if nothing went wrong.
        times: how many calls it meets; None: all.
        done: whether the call is carried out all the same, and only its answer is another.
        before: what somebody else does just before it.
    """

    pattern: str
    status: int | None
    times: int | None = 1
    done: bool = False
    delay: float = 5.0
    before: Callable[[], object] = lambda: None
    met: int = 0


class Problem(Exception):  # noqa: N818
    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class BigQueryServer:
    """The server.

    Attributes:
        calls: every call but those for tokens.
        tables: the API's resources, by ``dataset.table``.
        states: every resource that a table ever was, in their order.
        access: the access entries of each dataset, which must be there before its tables.
        policies: the bindings of each policy tag, of the taxonomy, the connection, the catalog and the project, by resource name.
        taxonomies: what each taxonomy enforces.
        drops_tags: paths of fields whose policy tags get lost.
        logged_in: the service account of the tokens that were given somewhere else than here.
        read: the rows of the table that a metadata file describes, as the connection's service account opens its files.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.tables: dict[str, dict[str, Any]] = {}
        self.states: list[tuple[str, dict[str, Any]]] = []
        self.access: dict[str, list[dict[str, Any]]] = {}
        self.policies: dict[str, list[dict[str, Any]]] = {}
        self.taxonomies: dict[str, list[str]] = {}
        self.faults: list[Fault] = []
        self.drops_tags: set[str] = set()
        self.logged_in = ""
        self.read = read_rows
        self._etags = (f"etag-{number}" for number in itertools.count(1))
        self._lock, self._stopping = threading.RLock(), threading.Event()
        handler = type("Handler", (_Handler,), {"bigquery": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.reset()

    def __enter__(self) -> BigQueryServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def reset(self) -> None:
        """What Terraform makes, but no dataset."""
        for kept in (self.calls, self.tables, self.states, self.access, self.faults, self.drops_tags):
            kept.clear()
        self.logged_in, self.read = "", read_rows
        self.taxonomies = {TAXONOMY: ["FINE_GRAINED_ACCESS_CONTROL"]}
        self.policies = {
            TAXONOMY: [],
            CONNECTION: [{"role": _CUSTOM.format("connection_user"), "members": [f"serviceAccount:{who}" for who in (WRITER, ADMIN)]}],
            CATALOG: [
                {"role": _CUSTOM.format("committer"), "members": [f"serviceAccount:{WRITER}"]},
                {"role": "roles/biglake.admin", "members": [f"serviceAccount:{ADMIN}"]},
            ],
            f"projects/{PROJECT}": [
                {"role": "roles/owner", "members": ["user:owner@example.com"]},
                {"role": "roles/bigquery.jobUser", "members": [f"serviceAccount:{who}" for who in (READER, WRITER, ADMIN)]},
            ],
            RESTRICTED: [{"role": FINE_GRAINED_READER, "members": [f"serviceAccount:{who}" for who in (WRITER, ADMIN)]}],
            INTERNAL: [{"role": FINE_GRAINED_READER, "members": [f"serviceAccount:{who}" for who in (READER, WRITER, ADMIN)]}],
        }

    def make_dataset(self, name: str) -> None:
        """With the access that Terraform gives."""
        self.access[name] = [
            {"role": "OWNER", "specialGroup": "projectOwners"},
            {"role": "READER", "userByEmail": READER},
            {"role": "READER", "userByEmail": WRITER},
            {"role": _CUSTOM.format("tables_mover"), "userByEmail": WRITER},
            {"role": _CUSTOM.format("tables_admin"), "userByEmail": ADMIN},
        ]

    def environment(self, folder: Path, caller: str = ADMIN) -> dict[str, str]:
        """The variables with which Google's libraries find the server, as a service account whose key is written to the folder."""
        path = folder / f"{caller.partition('@')[0]}.json"
        key = {"type": "service_account", "client_email": caller, "token_uri": f"{self.url}/token", "private_key": _KEY}
        path.write_text(json.dumps({**key, "project_id": PROJECT}))
        return {
            "BIGQUERY_EMULATOR_HOST": self.url,
            **{f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api}": self.url for api in POLICY_APIS},
            "GOOGLE_APPLICATION_CREDENTIALS": str(path),
            # google-auth asks Google in the background where an account may be used, and has no switch for it.
            **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9"),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
        }

    def query(self, folder: Path, caller: str, dataset: str, sql: str) -> list[dict[str, Any]]:
        """What a query of a service account gives, by Google's own client; its key is written to the folder."""
        credentials = service_account.Credentials.from_service_account_file(
            self.environment(folder, caller)["GOOGLE_APPLICATION_CREDENTIALS"]
        )
        config = bigquery.QueryJobConfig(default_dataset=f"{PROJECT}.{dataset}")
        options = {"api_endpoint": self.url}
        client = bigquery.Client(PROJECT, credentials, default_query_job_config=config, client_options=options)
        return [dict(row) for row in client.query_and_wait(sql)]

    def inject(self, pattern: str, status: int | None, times: int | None = 1, done: bool = False, delay: float = 5.0) -> Fault:
        """Meets the next ``times`` calls that fit the pattern."""
        self.faults.append(Fault(pattern, status, times, done, delay))
        return self.faults[-1]

    def meanwhile(self, pattern: str, action: Callable[[], object]) -> Fault:
        """Has somebody else do something just before the next call that fits the pattern."""
        self.faults.append(Fault(pattern, 0, done=True, before=action))
        return self.faults[-1]

    def change(self, table: str, **parts: Any) -> None:
        """Changes a table's resource by hand."""
        self._store(table, {**self.tables[table], **parts})

    def tag_by_hand(self, table: str, path: str, *names: str) -> None:
        """Gives a field other policy tags, which there are from then on."""
        for name in names:
            self.policies.setdefault(name, [])
        fields = json.loads(json.dumps(self.tables[table]["schema"]["fields"]))
        dict(_leaves(fields))[path]["policyTags"] = {"names": list(names)}
        self.change(table, schema={"fields": fields})

    def called(self, pattern: str) -> list[Call]:
        """The calls that fit a shell pattern over their names."""
        return [call for call in self.calls if fnmatch.fnmatchcase(call.name, pattern)]

    def tags(self, table: str) -> dict[str, list[str]]:
        """The policy tags of a table's fields, by path; of every field that has one."""
        return {path: names for path, names in _tags(self.tables[table]["schema"]["fields"]) if names}

    def uri(self, table: str) -> str:
        """The metadata file that a table names."""
        found: str = self.tables[table]["externalDataConfiguration"]["sourceUris"][0]
        return found

    # --- The API

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: Any) -> tuple[int, Any]:
        if path == "/token":
            return 200, {"access_token": f"token:{_caller(body)}", "expires_in": 3600, "token_type": "Bearer"}
        name, act = self._route(method, path, headers, body)
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        caller = token.removeprefix("token:") if token.startswith("token:") else self.logged_in if token.startswith("ya29.") else ""
        status: int
        with self._lock:
            fault = next((f for f in self.faults if fnmatch.fnmatchcase(name, f.pattern) and (f.times is None or f.met < f.times)), None)
            if fault is not None:
                fault.met += 1
        if fault is not None:
            fault.before()
        with self._lock:
            try:
                if scheme != "Bearer" or not caller:
                    raise Problem(401, "Request is missing required authentication credential.")
                done = act(caller) if fault is None or fault.done else None
                if fault is not None and fault.status:
                    raise Problem(fault.status, "Injected.")
                status, content = (204 if method == "DELETE" else 200), done
            except Problem as problem:
                status, content = problem.status, _error(problem.status, str(problem))
            self.calls.append(Call(name, body or {}, dict(headers), caller, status))
        if fault is not None and fault.status is None:
            self._stopping.wait(fault.delay)
        return status, content

    def _route(self, method: str, path: str, headers: Mapping[str, str], body: Any) -> tuple[str, Any]:
        parts = [unquote(part) for part in path.split("/") if part]
        if path.endswith(":getIamPolicy"):  # after v1 or v3
            resource = unquote(path).split("/", 2)[2].removesuffix(":getIamPolicy")
            verb = "GET" if resource.startswith(f"projects/{PROJECT}/catalogs/") else "POST"  # the catalog's alone is a GET
            return f"{method} policies/{resource}", lambda caller: self._policy(resource if method == verb else "")
        if unquote(path).partition("/v1/")[2] in self.taxonomies:
            name = unquote(path).partition("/v1/")[2]
            return f"GET {name}", lambda caller: {"name": name, "activatedPolicyTypes": self.taxonomies[name]}
        match parts[3:]:  # after bigquery/v2/projects
            case [_, "datasets", dataset, "tables"] if method == "POST":
                return f"POST tables/{dataset}", lambda caller: self._as(caller, "insert", dataset, lambda: self._insert(dataset, body))
            case [_, "datasets", dataset, "tables"]:
                return f"GET tables/{dataset}", lambda caller: self._as(caller, "list", dataset, lambda: self._list(dataset))
            case [_, "datasets", dataset, "tables", table]:
                act = {"GET": self._get, "PATCH": self._patch, "DELETE": self._delete}[method]
                name = f"{dataset}.{table}"
                return f"{method} tables/{name}", lambda caller: self._as(caller, method.lower(), dataset, lambda: act(name, headers, body))
            case [_, "datasets", dataset]:
                return f"{method} datasets/{dataset}", lambda caller: self._as(caller, "get", dataset, lambda: self._dataset(dataset))
            case [_, "queries"]:
                queried = (body.get("defaultDataset") or {}).get("datasetId", "")
                return "POST queries", lambda caller: self._as(caller, "query", queried, lambda: self._query(body, caller))
            case _:
                return f"{method} {path}", lambda caller: _raise(404, f"No such method: {path}")

    def _as(self, caller: str, verb: str, dataset: str, act: Callable[[], Any]) -> Any:
        """Does it, if a role of the caller's on the dataset lets it. Where there is no dataset, there is nothing to be refused."""
        held = [str(entry.get("role")) for entry in self.access.get(dataset, []) if caller == entry.get("userByEmail")]
        if dataset in self.access and not any(verb in _MAY.get(role, ()) for role in held):
            raise Problem(403, f"Access Denied: {caller} does not have permission to {verb} tables in {PROJECT}:{dataset}.")
        return act()

    def _dataset(self, dataset: str) -> Any:
        if dataset not in self.access:
            raise Problem(404, f"Not found: Dataset {PROJECT}:{dataset}")
        reference = {"projectId": PROJECT, "datasetId": dataset}
        return {"datasetReference": reference, "access": self.access[dataset], "location": LOCATION, "etag": "d"}

    def _insert(self, dataset: str, body: Any) -> Any:
        self._dataset(dataset)
        name = f"{dataset}.{body['tableReference']['tableId']}"
        if name in self.tables:
            raise Problem(409, f"Already Exists: Table {name}")
        self._check(body)
        return self._store(name, {**body, "type": "EXTERNAL", "id": f"{PROJECT}:{name}"})

    def _list(self, dataset: str) -> Any:
        self._dataset(dataset)
        found = [table for name, table in self.tables.items() if name.startswith(f"{dataset}.")]
        listed = [{key: table[key] for key in ("id", "type", "tableReference") if key in table} for table in found]
        return {"tables": listed, "totalItems": len(listed)}

    def _get(self, name: str, headers: Mapping[str, str], body: Any) -> Any:
        if name not in self.tables:
            raise Problem(404, f"Not found: Table {PROJECT}:{name}")
        return self.tables[name]

    def _patch(self, name: str, headers: Mapping[str, str], body: Any) -> Any:
        live = self._get(name, headers, None)
        if headers.get("If-Match") not in (None, live["etag"]):
            raise Problem(412, "Precondition Failed: the etag is of another version.")
        merged = {**live, **body}
        merged["externalDataConfiguration"] = {**live["externalDataConfiguration"], **body.get("externalDataConfiguration", {})}
        self._check(merged)
        return self._store(name, merged)

    def _delete(self, name: str, headers: Mapping[str, str], body: Any) -> Any:
        self._get(name, headers, None)
        del self.tables[name]

    def _store(self, name: str, resource: dict[str, Any]) -> dict[str, Any]:
        """Keeps it as the API answers it: without what is empty, a connection by its short name, and with a new etag."""
        stored: dict[str, Any] = json.loads(json.dumps(resource))
        parts = stored["externalDataConfiguration"].get("connectionId", "").split("/")
        if len(parts) == 6:
            stored["externalDataConfiguration"]["connectionId"] = ".".join(parts[1::2])
        for path, found in _leaves(stored["schema"]["fields"]):
            if path in self.drops_tags or not (found.get("policyTags") or {}).get("names"):
                found.pop("policyTags", None)
        self.tables[name] = {**stored, "etag": next(self._etags)}
        self.states.append((name, self.tables[name]))
        return self.tables[name]

    def _policy(self, resource: str) -> Any:
        if resource not in self.policies:
            raise Problem(404, f"Not found: {resource}")
        return {"version": 1, "etag": "p", "bindings": self.policies[resource]}

    def _query(self, body: Any, caller: str) -> Any:
        dataset = (body.get("defaultDataset") or {}).get("datasetId", "")
        if not self._bound(caller, "roles/bigquery.jobUser", f"projects/{PROJECT}"):
            raise Problem(403, f"Access Denied: {caller} does not have bigquery.jobs.create permission in {PROJECT}.")
        tables = {name.partition(".")[2]: table for name, table in self.tables.items() if name.startswith(f"{dataset}.")}
        try:
            schema, rows = answer_query(body["query"], tables, lambda tag: self._may_read(caller, tag), self.read)
        except RefusedError as error:
            raise Problem(403, str(error)) from None
        except Exception as error:
            raise Problem(400, f"{type(error).__name__}: {error}") from None
        reference = {"projectId": PROJECT, "jobId": f"job-{len(self.calls)}", "location": LOCATION}
        complete = {"jobComplete": True, "jobReference": reference, "totalRows": str(len(rows)), "totalBytesProcessed": "0"}
        return {**complete, "schema": {"fields": schema}, "rows": [{"f": [{"v": value} for value in row]} for row in rows]}

    def _may_read(self, caller: str, tag: str) -> bool:
        return self._bound(caller, FINE_GRAINED_READER, tag, tag.partition("/policyTags/")[0])

    def _bound(self, caller: str, role: str, *resources: str) -> bool:
        bindings = [binding for resource in resources for binding in self.policies.get(resource, []) if binding["role"] == role]
        return any(f"serviceAccount:{caller}" in binding["members"] for binding in bindings)

    def _check(self, resource: Any) -> None:
        """What BigQuery refuses."""
        _check(resource)
        if unknown := sorted({name for _, names in _tags(resource["schema"]["fields"]) for name in names} - self.policies.keys()):
            raise Problem(400, f"Invalid policy tag: {', '.join(unknown)}")


class _Handler(BaseHTTPRequestHandler):
    bigquery: BigQueryServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
        form = self.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded")
        body = {key: values[0] for key, values in parse_qs(text).items()} if form else json.loads(text or "null")
        status, answer = self.bigquery.answer(self.command, urlsplit(self.path).path, self.headers, body)  # type: ignore[arg-type]
        content = b"" if status == 204 else json.dumps(answer).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except OSError:  # the client has gone
            self.close_connection = True

    do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Nothing."""


def _caller(form: Any) -> str:
    """The service account that signed a request for a token."""
    claims = str(form["assertion"]).split(".")[1]
    return str(json.loads(urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["iss"])


def _check(resource: Any) -> None:
    """What BigQuery refuses of the resource alone."""
    external = resource.get("externalDataConfiguration") or _raise(400, "Only external tables are made here.")
    uris = external.get("sourceUris") or []
    if external.get("sourceFormat") != "ICEBERG" or len(uris) != 1 or not uris[0].endswith(".metadata.json"):
        raise Problem(400, "An Iceberg table has one source URI, of a metadata file.")
    if external.get("autodetect") is not False or not external.get("connectionId"):
        raise Problem(400, "A schema with policy tags needs autodetect off, and a connection.")
    _check_fields((resource.get("schema") or {}).get("fields") or _raise(400, "No schema."))


def _check_fields(fields: list[Any]) -> None:
    for found in fields:
        names = (found.get("policyTags") or {}).get("names") or []
        if found.get("fields") and names:
            raise Problem(400, f"Policy tags cannot be on the RECORD {found['name']}.")
        if len(names) > 1:
            raise Problem(400, f"{found['name']} has more than one policy tag.")
        _check_fields(found.get("fields") or [])


def _leaves(fields: list[Any], around: str = "") -> Any:
    for found in fields:
        path = f"{around}{found['name']}"
        if found.get("fields"):
            yield from _leaves(found["fields"], f"{path}.")
        else:
            yield path, found


def _tags(fields: list[Any]) -> Any:
    return ((path, list((found.get("policyTags") or {}).get("names") or [])) for path, found in _leaves(fields))


def _error(status: int, message: str) -> Any:
    reason = _REASONS.get(status, "unknown")
    return {"error": {"code": status, "message": message, "errors": [{"reason": reason, "message": message}], "status": reason}}


def _raise(status: int, message: str) -> Any:
    raise Problem(status, message)


if __name__ == "__main__":
    import tempfile

    with BigQueryServer() as server:
        for variable, value in server.environment(Path(tempfile.mkdtemp())).items():
            print(f"export {variable}={value}", flush=True)
        while True:
            time.sleep(3600)
