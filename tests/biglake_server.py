"""Google's side of the backend gcp, for the tests: logins, the BigLake catalog, and Cloud Storage, as the real client libraries find them.

The catalog is Iceberg's own REST server, and this stands before it, and does what Google adds: it wants a login and the project to be
billed, has a prefix of its own, puts each table into a folder with a random name, and lends credentials for its files.
Source: https://docs.cloud.google.com/lakehouse/docs/table-rules and /credential-vending; the reference of iceberg.v1.restcatalog.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from fault_proxy import Answer, FaultProxy
from gcs_server import OWN, GcsServer, lent_token, location_of
from google.auth import jwt
from requests.structures import CaseInsensitiveDict
from rest_catalog_server import RestCatalogServer

PROJECT, WAREHOUSE = "lake-project", "gs://warehouse"
CALLER = f"lakehouse-writer@{PROJECT}.iam.gserviceaccount.com"
_BASE = "/iceberg/v1/restcatalog/v1"
_CATALOG = f"projects/{PROJECT}/catalogs/warehouse"
_TABLE = re.compile(r"/namespaces/[^/]+/tables/[^/?]+")
_KEY = rsa.generate_private_key(65537, 2048)
_PRIVATE = _KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
_PUBLIC = _KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
# As Google names them; Iceberg's second name has a hyphen.
_TOKEN, _EXPIRES, _GOOGLE_EXPIRES = "gcs.oauth2.token", "gcs.oauth2.token-expires-at", "gcs.oauth2.token_expires_at"


class BigLakeServer(FaultProxy):
    """BigLake, Cloud Storage and the logins of one service account, on 127.0.0.1.

    Attributes:
        storage: Cloud Storage, with the buckets ``warehouse`` and ``landing``.
        logins: how many tokens the service account was given.
        lends_for: seconds for which the credentials of a table's files are good.
        lends_with_table: whether they come with the table, or only when they are asked for.
        refuses_logins: whether the service account's key is none any more.
    """

    def __init__(self, folder: Path) -> None:
        public_key = folder / "service-account.pem"
        public_key.write_bytes(_PUBLIC)
        self.storage = GcsServer(public_key).__enter__()
        self.catalog = RestCatalogServer(self.storage.open_uri, WAREHOUSE, folder)
        super().__init__(self.catalog.uri)
        self._key_file = folder / "service-account.json"
        key = {"type": "service_account", "client_email": CALLER, "private_key": _PRIVATE, "token_uri": f"{self.uri}/token"}
        self._key_file.write_text(json.dumps({**key, "project_id": PROJECT}))
        self._defaults()

    def __enter__(self) -> BigLakeServer:
        self.catalog.__enter__()
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__(*_)
        self.catalog.__exit__(*_)
        self.storage.__exit__(*_)

    def _defaults(self) -> None:
        self._tokens = set[str]()
        self.logins, self.lends_for, self.lends_with_table, self.refuses_logins = 0, 3600.0, True, False

    def reset(self) -> None:
        """As new: no tables, no files, nobody logged in."""
        super().reset()
        self._defaults()
        self.catalog.reset()
        self.storage.reset("warehouse", "landing")
        # What Terraform gives the writer where the catalog lends credentials.
        self.storage.allow("warehouse/_lakehouse/", "landing/")

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which Google's libraries, and PyArrow, find it."""
        return {
            "ICEBERG_REST_URI": self.uri + _BASE.removesuffix("/v1"),
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "GOOGLE_APPLICATION_CREDENTIALS": str(self._key_file),
            "CLOUD_STORAGE_EMULATOR_ENDPOINT": self.storage.uri,
            # google-auth asks Google in the background where an account may be used, and has no switch for it.
            **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9"),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
        }

    def end_logins(self) -> None:
        """No token is good any more; who logs in again gets another."""
        self._tokens.clear()

    def asked_with(self) -> dict[str, set[str | None]]:
        """Of each object in Cloud Storage that was asked for, for which locations the credentials were lent; None: they were its own."""
        found: dict[str, set[str | None]] = {}
        for _, target, token in self.storage.requests:
            found.setdefault(target, set()).add(location_of(token))
        return found

    # --- Logins

    def _answer(self, request: BaseHTTPRequestHandler) -> Answer | None:
        if request.path == "/token":
            form = parse_qs(request.rfile.read(int(request.headers["Content-Length"])).decode())
            return self._log_in(form["assertion"][0])
        return super()._answer(request)

    def _log_in(self, assertion: str) -> Answer:
        claims = jwt.decode(assertion, _PUBLIC, audience="https://oauth2.googleapis.com/token")
        if self.refuses_logins or claims["iss"] != CALLER:
            return 400, json.dumps({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}).encode()
        if "https://www.googleapis.com/auth/cloud-platform" not in claims["scope"].split():
            return 400, json.dumps({"error": "invalid_scope", "error_description": "Empty or missing scope not allowed."}).encode()
        token = f"{OWN}{uuid.uuid4().hex}"
        self._tokens.add(token)
        self.logins += 1
        return 200, json.dumps({"access_token": token, "expires_in": 3600, "token_type": "Bearer"}).encode()

    # --- The catalog

    def forward(self, name: str, headers: Mapping[str, str], body: bytes) -> Answer:
        headers = CaseInsensitiveDict(headers)
        if headers.get("Authorization", "").removeprefix("Bearer ") not in self._tokens:
            return _error(401, "Request had invalid authentication credentials.", "UNAUTHENTICATED")
        if headers.get("x-goog-user-project") != PROJECT:
            return _error(403, "Caller does not have required permission to use project: serviceusage.services.use.", "PERMISSION_DENIED")
        method, _, path = name.partition(" ")
        path = path.removeprefix(_BASE)
        if path.startswith("/config"):
            return self._config(path, headers)
        if not path.startswith(f"/{_CATALOG}/"):
            return _error(404, "Not found.", "NOT_FOUND")
        path = path.removeprefix(f"/{_CATALOG}")
        vends = headers.get("X-Iceberg-Access-Delegation") == "vended-credentials"
        if method == "GET" and path.endswith("/credentials"):
            status, answer = super().forward(f"GET /v1{path.removesuffix('/credentials')}", headers, b"")
            return (200, json.dumps(self._credentials(json.loads(answer))).encode()) if status == 200 else (status, answer)
        if method == "POST" and path.endswith("/tables"):
            request = json.loads(body)
            body = json.dumps({**request, "location": f"{request['location']}/{uuid.uuid4().hex[:8]}"}).encode()
        status, answer = super().forward(f"{method} /v1{path}", headers, body)
        if status == 200 and vends and self.lends_with_table and (path.endswith("/tables") or _TABLE.fullmatch(urlsplit(path).path)):
            answer = self._with_credentials(answer)
        return status, answer

    def _config(self, path: str, headers: Mapping[str, str]) -> Answer:
        if parse_qs(urlsplit(path).query).get("warehouse") != [WAREHOUSE]:
            return _error(404, "Catalog not found.", "NOT_FOUND")
        status, answer = super().forward("GET /v1/config", headers, b"")
        config = json.loads(answer)
        kept = [
            endpoint for endpoint in config["endpoints"] if "{prefix}" in endpoint and "view" not in endpoint and "plan" not in endpoint
        ]
        return status, json.dumps({**config, "endpoints": kept, "overrides": {**config["overrides"], "prefix": _CATALOG}}).encode()

    def _with_credentials(self, answer: bytes) -> bytes:
        loaded = json.loads(answer)
        if "metadata" not in loaded:
            return answer
        token, expires = self._lend(loaded["metadata"]["location"])
        return json.dumps({**loaded, "config": {**loaded.get("config", {}), _TOKEN: token, _EXPIRES: expires}}).encode()

    def _credentials(self, loaded: Mapping[str, Any]) -> dict[str, Any]:
        location = loaded["metadata"]["location"]
        token, expires = self._lend(location)
        return {"storage-credentials": [{"prefix": location, "config": {_TOKEN: token, _GOOGLE_EXPIRES: expires}}]}

    def _lend(self, location: str) -> tuple[str, str]:
        return lent_token(location, self.lends_for), str(int((time.time() + self.lends_for) * 1000))


def _error(code: int, message: str, status: str) -> Answer:
    return code, json.dumps({"error": {"code": code, "message": message, "status": status}}).encode()
