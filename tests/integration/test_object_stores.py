"""Source files in object stores: S3 by moto, Google Cloud Storage by an emulator, read by the real Arrow filesystems."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import boto3
import pytest
from gcp_storage_emulator.server import create_server
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer
from pyarrow import fs

from lakehouse.errors import SourceError
from lakehouse.ledger import Ledger
from lakehouse.sources import SourceFolder

if TYPE_CHECKING:
    from conftest import Lakehouse

EVENTS = '{"id": 1, "at": "2024-01-01T00:00:00Z"}\n{"id": 2, "at": "2024-01-02T00:00:00Z"}\n'
# The location of a bucket's folder, and how to put an object there.
Store = tuple[str, Callable[[str, bytes], None]]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    s3_backends.reset()  # moto's state is the process's, not the server's
    client = boto3.client("s3")
    client.create_bucket(Bucket="landing")

    def put(name: str, content: bytes) -> None:
        client.put_object(Bucket="landing", Key=name, Body=content)

    yield "s3://landing/events/", put
    server.stop()


@pytest.fixture
def gcs() -> Iterator[Store]:
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="landing")
    server.start()
    address = "{}:{}".format(*server._api._httpd.server_address[:2])
    store = fs.GcsFileSystem(anonymous=True, endpoint_override=address, scheme="http", retry_time_limit=timedelta(seconds=10))

    def put(name: str, content: bytes) -> None:
        with store.open_output_stream(f"landing/{name}", compression=None) as stream:
            stream.write(content)

    yield f"gs://anonymous@landing/events/?scheme=http&endpoint_override={address}", put
    server.stop()


@pytest.fixture(params=["s3", "gcs"])
def store(request: pytest.FixtureRequest) -> Store:
    return request.getfixturevalue(request.param)


def test_files_are_taken_once_from_an_object_store(lakehouse: Lakehouse, store: Store) -> None:
    location, put = store
    template = lakehouse.template(
        f"""
        name: events
        namespace: shop
        columns:
          - {{name: id, type: long, required: true}}
          - {{name: at, type: timestamptz}}
        source: {{path: "{location}", format: jsonl}}
        """
    )
    put("events/a.jsonl", EVENTS.encode())
    put("events/_unfinished.jsonl", EVENTS.encode())
    put("events/2024/b.jsonl.gz", gzip.compress(EVENTS.encode()))
    put("elsewhere/c.jsonl", EVENTS.encode())
    first = lakehouse.run(template)
    assert (first.source_files, first.rows) == (2, 4)
    root = location.split("://")[0] + "://landing/events/"  # no user, no query
    assert sorted(Ledger(lakehouse.table("shop.events"), "").entries["path"].to_pylist()) == [f"{root}2024/b.jsonl.gz", f"{root}a.jsonl"]
    assert replace(lakehouse.run(template), table="") == replace(type(first)(""), table="")
    put("events/late.jsonl", EVENTS.encode())
    assert lakehouse.run(template).rows == 2
    put("events/late.jsonl", EVENTS.encode() * 2)
    with pytest.raises(SourceError, match=r"late\.jsonl: it was taken before"):
        lakehouse.run(template)
    assert lakehouse.rows("shop.events").num_rows == 6


def test_a_prefix_may_be_empty_but_a_bucket_must_exist(store: Store) -> None:
    location, _ = store
    assert SourceFolder(location).list() == []
    with pytest.raises(SourceError, match="no bucket other"):
        SourceFolder(location.replace("landing", "other")).list()


def test_a_store_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lakehouse.sources._GCS_PATIENCE", 1)
    with pytest.raises(SourceError, match=r"gs://landing/events/ cannot be listed: (.|\n)*Retry policy exhausted"):
        SourceFolder("gs://anonymous@landing/events/?scheme=http&endpoint_override=127.0.0.1:1").list()
