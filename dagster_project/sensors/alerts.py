"""Where alerts go: a class for each channel. A new one is a class here, and a line in ``_CHANNELS``."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPMessage
from typing import IO, Protocol
from urllib.error import HTTPError

from pydantic import SecretStr

from lakehouse.bounded import Call, run_calls
from lakehouse.errors import LakehouseError, MissingExtraError
from lakehouse.settings import LakehouseSettings

# Seconds; a channel that answers later is taken to have failed.
TIMEOUT = 5
# Seconds; a channel that wants to be left alone for longer is asked all the same.
_LONGEST_REST = 6 * 3600
# Slack cuts a text off at 40,000 characters.
_LONGEST = 30_000


class DeliveryError(LakehouseError):
    """A channel did not take a message; what it was may not be said with it, nor where it went.

    Attributes:
        retry_after: seconds for which the channel is to be left alone; None where it does not say.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class Channel(Protocol):
    """Takes messages to people."""

    name: str

    def send(self, text: str) -> None:
        """Sends a text of one or more lines. Raises DeliveryError, or whatever its client does."""
        ...


def open_channels(settings: LakehouseSettings) -> list[Channel]:
    """The channels that the settings name."""
    return [channel for make in _CHANNELS if (channel := make(settings)) is not None]


def deliver(channels: Iterable[Channel], texts: Mapping[str, Sequence[str]], budget: float) -> dict[str, DeliveryError | None]:
    """Sends each channel its texts as one message; a channel that fails or hangs keeps no other from getting it.

    Args:
        texts: by the channel's name; a channel without any is left alone.
        budget: seconds for all channels.

    Returns:
        By name why the message was not delivered, or None where it was.
    """
    # Not as a client's own time-out alone: those do not cover the look-up of a host's name, or an answer that trickles.
    calls = {channel.name: _call(channel, texts[channel.name]) for channel in channels if texts.get(channel.name)}
    # Not capped: a catalog that hangs must not keep its own alert from being sent.
    outcomes = run_calls(calls, max(len(calls), 1), budget, capped=False)
    return {name: _failure(outcomes.get(name, TimeoutError())) for name in calls}


def _call(channel: Channel, texts: Sequence[str]) -> Call[bool]:
    def send() -> bool:
        channel.send(one_message(texts))
        return True

    return Call(send, TIMEOUT)


def _failure(outcome: bool | BaseException) -> DeliveryError | None:
    match outcome:
        case DeliveryError():
            return outcome
        case TimeoutError():
            return DeliveryError(f"It did not answer within {TIMEOUT} s.")
        case MissingExtraError():
            return DeliveryError(str(outcome))
        case BaseException():
            # Not what the error says: clients put the address into it, which is a secret.
            return DeliveryError(f"{type(outcome).__name__}.")
        case _:
            return None


def one_message(texts: Sequence[str]) -> str:
    """A line for each, as many as fit; the others are counted."""
    lines: list[str] = []
    room = _LONGEST
    for text in texts:
        room -= len(text) + 1
        if room < 0 and lines:
            return "\n".join([*lines, f"… and {len(texts) - len(lines)} more; Dagster's log of the sensor has them all."])
        lines.append(text[:_LONGEST])
    return "\n".join(lines)


class Slack:
    """Slack, or what takes the same incoming webhooks. The URL is a secret: whoever has it can post."""

    name = "slack"

    def __init__(self, webhook: SecretStr) -> None:
        self._webhook = webhook

    def send(self, text: str) -> None:
        """Posts it as plain text. Raises DeliveryError for every answer but a 2xx."""
        plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        # Without mrkdwn a name with two underscores would come out in italics.
        body = json.dumps({"text": plain, "mrkdwn": False}).encode()
        request = urllib.request.Request(self._webhook.get_secret_value(), body, {"Content-Type": "application/json"})
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT):
                return
        except HTTPError as error:
            raise DeliveryError(f"It answered {error.code}.", _retry_after(error.headers.get("Retry-After"))) from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise DeliveryError(f"It could not be reached: {type(reason).__name__}.") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A page to log in on, where a redirect would lead, has not delivered anything."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        return None


def _retry_after(value: str | None) -> float | None:
    """Seconds, from a number of them or a date, six hours at most; None where it says neither."""
    if value is None:
        return None
    try:
        seconds = float(value) if value.strip().isdigit() else (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError, OverflowError):  # the last of them from a time zone of many digits
        return None
    return min(max(seconds, 0), _LONGEST_REST)


class Sns:
    """A topic of Amazon SNS, with the credentials that the process has."""

    name = "sns"

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def send(self, text: str) -> None:
        """Publishes it. Raises DeliveryError where AWS refuses, MissingExtraError without boto3."""
        try:
            import boto3  # type: ignore[import-untyped]
            from botocore.config import Config  # type: ignore[import-untyped]
            from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
        except ModuleNotFoundError:
            raise MissingExtraError("aws", "Alerts to SNS") from None
        config = Config(connect_timeout=TIMEOUT, read_timeout=TIMEOUT, retries={"total_max_attempts": 2, "mode": "standard"})
        try:
            client = boto3.Session().client("sns", region_name=self._topic.split(":")[3], config=config)
            client.publish(TopicArn=self._topic, Subject="Schema drift", Message=text)
        except (BotoCoreError, ClientError) as error:
            raise DeliveryError(f"{error}") from None


_CHANNELS: tuple[Callable[[LakehouseSettings], Channel | None], ...] = (
    lambda settings: Slack(settings.slack_webhook) if settings.slack_webhook else None,
    lambda settings: Sns(settings.sns_topic) if settings.sns_topic else None,
)
