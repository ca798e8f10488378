"""``lakehouse check-destroy`` for ``terraform/gcp``: Google's own authentication, a GCS emulator, and what lists tables."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from bigquery_server import PROJECT, BigQueryServer
from gcp_storage_emulator.server import create_server
from pyarrow import fs
from terraform_cli import require_terraform

from lakehouse.destroy import check_destroy
from lakehouse.errors import CatalogError, NotEmptyError, SettingsError

DATASET = f"/bigquery/v2/projects/{PROJECT}/datasets/shop/tables"
NAMESPACE = f"/iceberg/v1/projects/{PROJECT}/catalogs/lake-warehouse/namespaces/shop/tables"
MISSING = {"error": {"code": 404, "message": "Not found"}}


@dataclass
class Google:
    """What is there to be destroyed, as a Terraform state knows it, and as the servers answer."""

    root: Path
    store: fs.GcsFileSystem
    answers: dict[str, tuple[int, dict[str, Any]]]
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)

    def state(self, deletion_policy: str) -> None:
        def resource(kind: str, key: str, **attributes: str) -> dict[str, Any]:
            instance = {"index_key": key, "attributes": {"project": PROJECT, "deletion_policy": deletion_policy, **attributes}}
            return {"mode": "managed", "type": kind, "name": "this", "provider": 'provider["registry.terraform.io/hashicorp/google"]',
                    "instances": [instance]}  # fmt: skip

        resources = [
            *(resource("google_storage_bucket", kind, name=f"lake-{kind}") for kind in ("warehouse", "landing", "logs")),
            resource("google_bigquery_dataset", "shop", dataset_id="shop"),
            resource("google_biglake_iceberg_namespace", "shop", catalog="lake-warehouse", namespace_id="shop"),
        ]
        state = {"version": 4, "terraform_version": "1.9.0", "serial": 1, "lineage": "test", "outputs": {}, "resources": resources}
        (self.root / "terraform.tfstate").write_text(json.dumps(state))


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    require_terraform()
    monkeypatch.chdir(tmp_path)  # there is no .env
    (tmp_path / "main.tf").write_text("")
    emulator = create_server("127.0.0.1", 0, in_memory=True, default_bucket="lake-warehouse")
    emulator.start()
    address = "{}:{}".format(*emulator._api._httpd.server_address[:2])
    store = fs.GcsFileSystem(anonymous=True, endpoint_override=address, scheme="http", project_id=PROJECT)
    store.create_dir("lake-logs")
    found = Google(tmp_path, store, {DATASET: (200, {"totalItems": 0}), NAMESPACE: (200, {"identifiers": []})})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            found.asked.append((path, self.headers["Authorization"], self.headers["x-goog-user-project"]))
            status, answer = found.answers.get(path, (404, MISSING))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as lists, BigQueryServer() as tokens:
        threading.Thread(target=lists.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        url = f"http://127.0.0.1:{lists.server_port}"
        environment = {**tokens.environment(tmp_path), "BIGQUERY_EMULATOR_HOST": url, "ICEBERG_REST_URI": f"{url}/iceberg"}
        for name, value in {**environment, "STORAGE_EMULATOR_HOST": f"http://{address}"}.items():
            monkeypatch.setenv(name, value)
        yield found
        lists.shutdown()
    emulator.stop()


def test_what_is_empty_may_go_and_what_is_gone_is_not_asked_about(google: Google) -> None:
    google.state("DELETE")
    assert check_destroy(google.root) == ["gs://lake-warehouse", "the dataset shop", "the namespace shop"]  # there is no landing bucket
    assert [(path, project) for path, token, project in google.asked if token] == [(DATASET, PROJECT), (NAMESPACE, PROJECT)]
    google.answers.clear()
    assert check_destroy(google.root) == ["gs://lake-warehouse"]


def test_files_and_tables_are_named_before_anything_is_destroyed(google: Google) -> None:
    google.state("PREVENT")
    for name in ("lake-warehouse/shop/orders/1.parquet", "lake-logs/today.json"):
        with google.store.open_output_stream(name) as stream:
            stream.write(b"1")
    google.answers[DATASET] = (200, {"totalItems": 1, "tables": [{"id": "orders"}]})
    google.answers[NAMESPACE] = (200, {"identifiers": [{"namespace": ["shop"], "name": "orders"}]})
    with pytest.raises(NotEmptyError, match=r"^gs://lake-warehouse, the dataset shop, the namespace shop still hold files"):
        check_destroy(google.root)


def test_protection_is_to_be_taken_away_first(google: Google) -> None:
    google.state("PREVENT")
    with pytest.raises(SettingsError, match=r"has deletion_protection: .* Set it to false, and apply, first"):
        check_destroy(google.root)


def test_what_cannot_be_looked_at_is_not_taken_for_empty(google: Google) -> None:
    google.state("DELETE")
    google.answers[DATASET] = (403, {"error": {"code": 403, "message": "Permission denied"}})
    with pytest.raises(CatalogError, match="What a destroy would delete cannot be looked at: HTTPError: 403"):
        check_destroy(google.root)
