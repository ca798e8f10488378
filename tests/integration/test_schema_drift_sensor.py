"""The drift sensor through Dagster: what it tells, to whom, once; and what becomes of channels that fail."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from aws_server import Call, Fault
from dagster import AssetCheckKey, AssetKey, AssetMaterialization, AssetSpec, DagsterInstance, DefaultSensorStatus
from drifting import ORDERS, USERS, Watch, made
from pyiceberg.types import BooleanType
from werkzeug.wrappers import Response

from dagster_project.definitions import build_definitions
from dagster_project.sensors.alerts import TIMEOUT
from lakehouse.bounded import MOST_HANGING, run_calls
from lakehouse.bounded import Call as BoundedCall
from lakehouse.settings import LakehouseSettings

if TYPE_CHECKING:
    from aws_server import AwsServer
    from conftest import Lakehouse

SECRET = "services/T0/B0/top-secret"
DRIFT = "Schema drift detected in shop.orders. Extra columns: {debug_flag}."
RESOLVED = "Schema drift resolved in shop.orders."
WATCH = ["schema_drift"]
ORDERS_CHECK = AssetCheckKey(AssetKey(["shop", "orders"]), "schema_drift")


class Slack:
    """A webhook. It answers as it is told, and 200 after that.

    Attributes:
        answers: status codes with headers, or a function that answers.
        texts: what it took.
    """

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.texts: list[str] = []
        self.hangs, self.released = False, threading.Event()
        slack = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if slack.hangs:
                    slack.released.wait()
                    return
                status, headers = slack.answers.pop(0) if slack.answers else (200, {})
                if status == 200 and self.path == f"/{SECRET}":
                    slack.texts.append(json.loads(body)["text"])
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/{SECRET}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slack]:
    """A webhook, which is set."""
    slack = Slack()
    monkeypatch.setenv("LAKEHOUSE_SLACK_WEBHOOK", slack.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield slack
    slack.released.set()
    slack.server.shutdown()


class Sns:
    """A topic, which is set, and a queue that has subscribed to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._sqs, sns = boto3.client("sqs"), boto3.client("sns")
        self._queue = self._sqs.create_queue(QueueName="alerts")["QueueUrl"]
        topic = sns.create_topic(Name="drift")["TopicArn"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        monkeypatch.setenv("LAKEHOUSE_SNS_TOPIC", topic)

    @property
    def texts(self) -> list[str]:
        """What came since the last time."""
        messages = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(message["Body"])["Message"] for message in messages]


@pytest.fixture
def sns(aws: AwsServer, monkeypatch: pytest.MonkeyPatch) -> Sns:
    return Sns(monkeypatch)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    with DagsterInstance.local_temp(str(tmp_path)) as found:
        yield found


@pytest.fixture
def watch(lakehouse: Lakehouse, instance: DagsterInstance) -> Watch:
    """The sensor of a lakehouse with two tables, one of them with a pipeline and a quarantine table."""
    made(lakehouse, ORDERS, USERS)
    return Watch(build_definitions(LakehouseSettings.load()).get_repository_def(), instance)


def drift(lakehouse: Lakehouse, table: str = "shop.orders") -> None:
    with lakehouse.table(table).update_schema() as update:
        update.add_column("debug_flag", BooleanType())


def mend(lakehouse: Lakehouse, table: str = "shop.orders") -> None:
    with lakehouse.table(table).update_schema(allow_incompatible_changes=True) as update:
        update.delete_column("debug_flag")


def told(capfd: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    """What the sensor logged since the last time, level and text."""
    lines = [line.split(" - ", 3) for line in capfd.readouterr().err.splitlines()]
    return [(level, text) for _, _, level, text in (line for line in lines if line[1:2] == ["dagster"])]


# --- What is told


@pytest.mark.parametrize(("value", "status"), [(None, "RUNNING"), ("stopped", "STOPPED")])
def test_the_sensor_runs_every_hour_unless_it_is_stopped(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch, value: str | None, status: str
) -> None:
    if value:
        monkeypatch.setenv("LAKEHOUSE_DRIFT_SENSOR", value)
    (lakehouse.settings.templates / "users.yaml").write_text(USERS)
    sensor = build_definitions(LakehouseSettings.load()).get_repository_def().get_sensor_def("schema_drift")
    assert (sensor.minimum_interval_seconds, sensor.default_status) == (3600, DefaultSensorStatus[status])


def test_a_drift_is_told_when_it_appears_changes_and_is_resolved(lakehouse: Lakehouse, watch: Watch, slack: Slack, sns: Sns) -> None:
    def tick() -> tuple[list[str], list[str]]:
        watch.tick()
        taken, slack.texts = slack.texts, []
        return taken, sns.texts

    assert tick() == ([], [])
    drift(lakehouse)
    assert tick() == ([DRIFT], [DRIFT])
    assert tick() == ([], [])
    with lakehouse.table("shop.orders").update_schema(allow_incompatible_changes=True) as update:
        update.delete_column("session_id")
    worse = f"{DRIFT} Missing columns: {{session_id}}."
    assert tick() == ([worse], [worse])
    lakehouse.apply()  # refuses to drop debug_flag, adds session_id
    assert tick() == ([DRIFT], [DRIFT])
    mend(lakehouse)
    assert tick() == ([RESOLVED], [RESOLVED])
    assert tick() == ([], [])


def test_what_lasts_is_told_again_after_the_hours_that_are_set(
    lakehouse: Lakehouse, watch: Watch, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    drift(lakehouse)
    monkeypatch.setenv("LAKEHOUSE_DRIFT_REPEAT_HOURS", "0.0000001")
    watch.tick()
    watch.tick()
    monkeypatch.setenv("LAKEHOUSE_DRIFT_REPEAT_HOURS", "1")
    watch.tick()
    assert slack.texts == [DRIFT, DRIFT]


def test_all_news_of_a_tick_are_one_message_and_in_the_log(
    lakehouse: Lakehouse, watch: Watch, slack: Slack, capfd: pytest.CaptureFixture[str]
) -> None:
    drift(lakehouse)
    drift(lakehouse, "shop.orders__quarantine")
    lakehouse.catalog.drop_table("shop.users")
    data = watch.tick()
    news = [
        DRIFT,
        DRIFT.replace("orders", "orders__quarantine"),
        "Schema drift detected in shop.users. The table is missing. Create it: lakehouse apply",
    ]
    assert slack.texts == ["\n".join(news)]
    assert told(capfd) == [("WARNING", text) for text in news]
    assert data.skip_message == "3 tables: 2 drifted, 1 missing."


def test_without_any_channel_it_is_in_the_log(lakehouse: Lakehouse, watch: Watch, capfd: pytest.CaptureFixture[str]) -> None:
    drift(lakehouse)
    watch.tick()
    assert told(capfd) == [("WARNING", DRIFT)]
    assert watch.checks(WATCH, "alerts_are_delivered") == [(True, "Nothing waits.")]


def test_characters_that_slack_takes_for_its_own_arrive_as_they_are(lakehouse: Lakehouse, watch: Watch, slack: Slack) -> None:
    table = lakehouse.table("shop.orders")
    table.transaction().set_properties({"write.parquet.compression-codec": "<!channel> & more"}).commit_transaction()
    watch.tick()
    assert "{write.parquet.compression-codec: &lt;!channel&gt; &amp; more instead of zstd}" in slack.texts[0]


# --- In Dagster


def test_a_tables_check_has_the_difference_and_is_stored_when_it_changes(lakehouse: Lakehouse, watch: Watch) -> None:
    orders = ["shop", "orders"]
    data = watch.tick()
    assert watch.checks(orders) == [(True, "In step with the template.")]
    [comparison] = [event for event in data.asset_events if isinstance(event, AssetMaterialization)]
    assert (comparison.asset_key.path, comparison.metadata["in_step"].value) == (["schema_drift"], 3)
    drift(lakehouse)
    drift(lakehouse, "shop.orders__quarantine")
    data = watch.tick()
    quarantine = DRIFT.replace("orders", "orders__quarantine")
    assert watch.checks(orders)[0] == (False, f"{DRIFT}\n{quarantine}")
    [evaluation] = [event for event in data.asset_events if event.asset_key == AssetKey(orders)]
    assert evaluation.metadata["extra_columns"].value == "debug_flag, debug_flag"
    diff: Any = evaluation.metadata["diff"].value
    assert diff["schema shop.orders"] == [
        "drifted",
        {"kind": "drop-column", "subject": "debug_flag", "live": "boolean", "template": "", "level": "breaking"},
    ]
    watch.tick()
    assert len(watch.checks(orders)) == 2
    mend(lakehouse)
    watch.tick()
    assert watch.checks(orders)[0] == (False, quarantine)
    mend(lakehouse, "shop.orders__quarantine")
    watch.tick()
    assert watch.checks(orders)[0] == (True, "In step with the template.")


def test_a_check_that_is_run_by_hand_compares_at_once(lakehouse: Lakehouse, watch: Watch, slack: Slack) -> None:
    drift(lakehouse)
    watch.run_checks(
        ORDERS_CHECK, AssetCheckKey(AssetKey(WATCH), "everything_is_looked_at"), AssetCheckKey(AssetKey(WATCH), "alerts_are_delivered")
    )
    assert watch.checks(["shop", "orders"]) == [(False, DRIFT)]
    assert watch.checks(WATCH, "everything_is_looked_at") == [(True, "3 tables: 1 drifted, 2 in step.")]
    assert watch.checks(WATCH, "alerts_are_delivered") == [(True, "Nothing waits.")]
    assert slack.texts == ["This is a test of the alerts about schema drift, sent by hand from Dagster."]


def test_a_tick_stores_what_is_no_more_as_a_check_by_hand_found_it_and_nothing_else(lakehouse: Lakehouse, watch: Watch) -> None:
    orders = ["shop", "orders"]
    watch.tick()
    drift(lakehouse)
    watch.run_checks(ORDERS_CHECK)
    watch.tick()
    assert [passed for passed, _ in watch.checks(orders)] == [False, True]
    mend(lakehouse)
    watch.tick()
    assert [passed for passed, _ in watch.checks(orders)] == [True, False, True]
    drift(lakehouse)
    watch.tick()
    mend(lakehouse)
    watch.run_checks(ORDERS_CHECK)
    drift(lakehouse)
    watch.tick()
    assert [passed for passed, _ in watch.checks(orders)] == [False, True, False, True, False, True]


def test_a_table_without_a_pipeline_has_an_asset_and_a_check(lakehouse: Lakehouse, watch: Watch) -> None:
    users = ["shop", "users"]
    drift(lakehouse, "shop.users")
    watch.tick()
    assert watch.checks(users) == [(False, DRIFT.replace("orders", "users"))]
    [asset] = [asset for asset in build_definitions(LakehouseSettings.load()).assets or () if asset.key == AssetKey(users)]  # type: ignore[union-attr]
    assert isinstance(asset, AssetSpec)
    assert [column.name for column in asset.metadata["dagster/column_schema"].columns] == ["id"]
    assert asset.group_name == "shop"


def test_a_table_that_is_unreachable_is_not_looked_at(lakehouse: Lakehouse, watch: Watch) -> None:
    Path(lakehouse.table("shop.users").metadata_location.removeprefix("file://")).unlink()
    watch.tick()
    [(passed, description)] = watch.checks(WATCH, "everything_is_looked_at")
    assert (passed, description.startswith("Schema drift of shop.users is unknown: unreachable.")) == (False, True)


def test_an_unreachable_catalog_is_an_alert_of_its_own_and_no_table_is_in_step(lakehouse: Lakehouse, watch: Watch, slack: Slack) -> None:
    drift(lakehouse)
    watch.tick()
    database = Path(lakehouse.settings.warehouse_folder) / "catalog.db"
    content = database.read_bytes()
    database.write_bytes(b"not a database" * 1000)
    watch.tick()
    watch.tick()
    assert watch.checks(["shop", "orders"]) == [(False, DRIFT)]  # as it was
    passed, description = watch.checks(WATCH, "everything_is_looked_at")[0]
    assert (passed, "file is not a database" in description) == (False, True)
    database.write_bytes(content)
    watch.tick()
    assert slack.texts == [DRIFT, description, "Schema drift of the catalog is known again."]
    assert watch.checks(WATCH, "everything_is_looked_at")[0][0]


def test_a_table_that_hangs_hides_no_other_and_the_tick_ends(
    lakehouse: Lakehouse, watch: Watch, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    drift(lakehouse)
    metadata = Path(lakehouse.table("shop.users").metadata_location.removeprefix("file://"))
    content = metadata.read_bytes()
    metadata.unlink()
    os.mkfifo(metadata)  # whoever opens it waits for somebody who writes
    monkeypatch.setenv("LAKEHOUSE_DRIFT_TABLE_TIMEOUT", "2")
    try:
        watch.tick()
    finally:
        descriptor = os.open(metadata, os.O_WRONLY)
        metadata.unlink()
        metadata.write_bytes(content)
        os.close(descriptor)
    assert watch.seconds < 20
    hanging = "Schema drift of shop.users is unknown: unreachable. TimeoutError: no answer within 2 s."
    assert slack.texts == [f"{DRIFT}\n{hanging}"]
    watch.tick()
    assert slack.texts[1:] == ["Schema drift of shop.users is known again."]


def test_a_template_that_cannot_be_used_any_more_hides_no_other_table(lakehouse: Lakehouse, watch: Watch, slack: Slack) -> None:
    watch.tick()
    path = lakehouse.settings.templates / "users.yaml"
    text = path.read_text()
    path.write_text(f"{text}sauce: yes\n")
    drift(lakehouse)
    watch.tick()
    templates = "Schema drift of the templates is unknown: unreachable. users.yaml cannot be used, and nothing is known of their tables."
    assert slack.texts == [f"{templates} See: lakehouse lint\n{DRIFT}"]  # and shop.users is not said to be without a template
    path.write_text(text)
    watch.tick()
    assert slack.texts[1:] == ["Schema drift of the templates is known again."]


@pytest.mark.parametrize("cursor", ["gibberish", '{"version": 7}'])
def test_a_cursor_that_cannot_be_read_is_said_and_everything_told_again(
    lakehouse: Lakehouse, watch: Watch, slack: Slack, capfd: pytest.CaptureFixture[str], cursor: str
) -> None:
    drift(lakehouse)
    watch.tick()
    told(capfd)
    watch.cursor = cursor
    watch.tick()
    assert slack.texts == [DRIFT, DRIFT]
    assert told(capfd)[0][1].startswith("What was alerted before cannot be read")


# --- Channels that fail


def late(text: str) -> str:
    """As it is sent at a later tick, up to the time."""
    return f"{text} (found 20"


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ((500, {}), "It answered 500."),
        ((404, {}), "It answered 404."),
        ((302, {"Location": "/login"}), "It answered 302."),
        ((429, {}), "It answered 429."),
        ((429, {"Retry-After": "0"}), "It answered 429."),
        ((429, {"Retry-After": "soon"}), "It answered 429."),
        ((429, {"Retry-After": "Mon, 01 Jan 2024 00:00:00 GMT"}), "It answered 429."),
    ],
)
def test_what_slack_does_not_take_is_sent_at_the_next_tick_and_the_other_channel_gets_it(
    lakehouse: Lakehouse, watch: Watch, slack: Slack, sns: Sns, answer: tuple[int, dict[str, str]], shown: str
) -> None:
    drift(lakehouse)
    slack.answers = [answer]
    watch.tick()
    assert (slack.texts, sns.texts) == ([], [DRIFT])
    assert watch.checks(WATCH, "alerts_are_delivered") == [(False, f"slack: {shown}")]
    mend(lakehouse)
    watch.tick()
    [text] = slack.texts
    first, second = text.splitlines()
    assert (first.startswith(late(DRIFT)), second, sns.texts) == (True, RESOLVED, [RESOLVED])
    assert watch.checks(WATCH, "alerts_are_delivered")[0] == (True, "Nothing waits.")
    watch.tick()
    assert (len(slack.texts), sns.texts) == (1, [])


def test_slack_is_left_alone_for_as_long_as_it_wants(lakehouse: Lakehouse, watch: Watch, slack: Slack) -> None:
    drift(lakehouse)
    slack.answers = [(429, {"Retry-After": "7200"})]
    watch.tick()
    watch.tick()
    assert slack.texts == []
    assert "It wants to be left alone until" in watch.checks(WATCH, "alerts_are_delivered")[0][1]
    assert watch.cursor is not None
    memory = json.loads(watch.cursor)
    memory["outboxes"]["slack"]["not_before"] = "2024-01-01T00:00:00Z"
    watch.cursor = json.dumps(memory)
    watch.tick()
    assert [text.startswith(late(DRIFT)) for text in slack.texts] == [True]


def not_authorized(call: Call) -> Response:
    """As SNS writes it."""
    error = "<Error><Type>Sender</Type><Code>AuthorizationError</Code><Message>Not allowed to publish.</Message></Error>"
    return Response(f"<ErrorResponse>{error}</ErrorResponse>", 403, content_type="text/xml")


def test_what_sns_does_not_take_is_sent_at_the_next_tick_and_the_other_channel_gets_it(
    lakehouse: Lakehouse, watch: Watch, slack: Slack, sns: Sns, aws: AwsServer
) -> None:
    drift(lakehouse)
    fault: Fault = aws.faults.inject("sns:Publish", not_authorized, times=None)
    watch.tick()
    assert (slack.texts, sns.texts, fault.met) == ([DRIFT], [], 1)
    [(passed, description)] = watch.checks(WATCH, "alerts_are_delivered")
    assert (passed, "AuthorizationError" in description) == (False, True)
    aws.faults.clear()
    watch.tick()
    assert [text.startswith(late(DRIFT)) for text in sns.texts] == [True]
    assert slack.texts == [DRIFT]


def test_a_channel_that_hangs_is_waited_for_only_so_long(lakehouse: Lakehouse, watch: Watch, slack: Slack, sns: Sns) -> None:
    drift(lakehouse)
    slack.hangs = True
    watch.tick()
    assert watch.seconds < TIMEOUT + 10
    assert (slack.texts, sns.texts) == ([], [DRIFT])
    assert watch.checks(WATCH, "alerts_are_delivered")[0][0] is False
    slack.hangs = False
    watch.tick()
    assert [text.startswith(late(DRIFT)) for text in slack.texts] == [True]


def test_a_channel_that_is_not_set_any_more_has_nothing_waiting(
    lakehouse: Lakehouse, watch: Watch, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    drift(lakehouse)
    slack.answers = [(500, {})]
    watch.tick()
    monkeypatch.delenv("LAKEHOUSE_SLACK_WEBHOOK")
    watch.tick()
    assert watch.checks(WATCH, "alerts_are_delivered")[0] == (True, "Nothing waits.")


BROKEN: dict[str, Callable[[str], str]] = {
    "refused": lambda url: f"http://127.0.0.1:1/{SECRET}",
    "no host": lambda url: f"http://no-such-host.invalid/{SECRET}",
    "no port": lambda url: f"http://127.0.0.1:port/{SECRET}",
    "control character": lambda url: f"{url}\x7f",
    "no TLS": lambda url: url.replace("http:", "https:"),
    "answers 500": lambda url: url,
}


@pytest.mark.parametrize("how", BROKEN)
def test_the_webhooks_url_is_in_no_log_cursor_check_or_error(
    lakehouse: Lakehouse,
    watch: Watch,
    slack: Slack,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    how: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger().setLevel(logging.DEBUG)
    monkeypatch.setenv("LAKEHOUSE_SLACK_WEBHOOK", BROKEN[how](slack.url))
    drift(lakehouse)
    slack.answers = [(500, {})]
    data = watch.tick()
    printed = capfd.readouterr()
    assert watch.checks(WATCH, "alerts_are_delivered")[0][0] is False
    everything = f"{printed}{caplog.text}{data}{watch.cursor}{watch.checks(WATCH, 'alerts_are_delivered')}{LakehouseSettings.load()!r}"
    assert DRIFT in everything
    assert "top-secret" not in everything


@pytest.mark.parametrize("wanted", ["999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_slack_is_asked_again_after_six_hours_however_long_it_wants_to_be_left_alone(
    lakehouse: Lakehouse, watch: Watch, slack: Slack, wanted: str
) -> None:
    drift(lakehouse)
    slack.answers = [(429, {"Retry-After": wanted})]
    before = datetime.now(UTC)
    watch.tick()
    assert watch.cursor is not None
    not_before = datetime.fromisoformat(json.loads(watch.cursor)["outboxes"]["slack"]["not_before"])
    assert timedelta(hours=6) <= not_before - before < timedelta(hours=6, minutes=2)


def test_alerts_arrive_and_tables_are_looked_at_although_many_calls_of_an_earlier_outage_hang_on(
    lakehouse: Lakehouse, watch: Watch, slack: Slack
) -> None:
    outage, threads = threading.Event(), list[threading.Thread]()

    def hang() -> None:
        threads.append(threading.current_thread())
        outage.wait()

    try:
        run_calls({str(number): BoundedCall(hang, 0.05) for number in range(MOST_HANGING)}, workers=16)
        drift(lakehouse)
        watch.tick()
        assert slack.texts == [DRIFT]
        assert watch.checks(WATCH, "everything_is_looked_at") == [(True, "3 tables: 1 drifted, 2 in step.")]
    finally:
        outage.set()
        for thread in threads:
            thread.join()


def test_slack_is_asked_at_the_next_tick_where_it_names_a_time_that_is_none(lakehouse: Lakehouse, watch: Watch, slack: Slack) -> None:
    drift(lakehouse)
    slack.answers = [(429, {"Retry-After": "Mon, 01 Jan 2024 00:00:00 +99999999999999999"})]
    watch.tick()
    assert watch.checks(WATCH, "alerts_are_delivered") == [(False, "slack: It answered 429.")]
    watch.tick()
    assert [text.startswith(late(DRIFT)) for text in slack.texts] == [True]
