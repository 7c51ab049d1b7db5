"""Sends a message over Airflow's connections, through its own providers, and never harms who sends it.

A channel that is misconfigured, away or silent costs a warning and at most SEND_SECONDS. The providers are imported
when something is sent: half a second that no DAG file and no task has to pay.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from airflow.sdk import BaseHook

from llm_eval.airflow.messages import (
    Message,
    email_html,
    email_subject,
    feishu_body,
    hide,
    one_line,
    secrets_in,
    slack_text,
)
from llm_eval.specs import Channel

logger = logging.getLogger(__name__)

Post = Callable[[], None]  # sends one message over one channel

SEND_SECONDS = 10.0  # for all channels together: they are asked side by side
ANSWER_SECONDS = 15  # when a thread that was left behind gives up; longer, so that one clock decides who hung
FEISHU_HOSTS = {
    "feishu": "https://open.feishu.cn/open-apis/bot/v2/hook",
    "lark": "https://open.larksuite.com/open-apis/bot/v2/hook",
}
LANGUAGES = {"feishu": "zh_cn", "lark": "en_us"}

SILENCE_SECONDS = 120.0  # as long as the DAG processor's time limit for one file

_silent: dict[Channel, float] = {}
"""Channels that hung, and until when they are left out: Airflow's DAG processor tells of many failed runs one after
the other in one process, which is killed when it takes too long, and the messages still to be sent with it."""


class NotSent(Exception):
    """`str(error)` says why, without secrets."""


def tell(channels: Sequence[Channel], message: Message) -> None:
    """Send to all of them; one warning for each that did not take it. Raises nothing."""
    for channel, reason in send(channels, message).items():
        if reason is not None:
            logger.warning(
                "no message to %s (connection %r): %s. %r was not told; nothing else is affected",
                channel.kind,
                channel.connection,
                reason,
                message.title,
            )


def send(channels: Sequence[Channel], message: Message) -> dict[Channel, str | None]:
    """Why each of these channels did not take the message; None for one that did."""
    reasons: dict[Channel, str | None] = {}
    threads = {}
    for channel in channels:
        if _silent.get(channel, 0.0) > time.monotonic():
            reasons[channel] = "left out: it hung before"
            continue
        # Here and not in the thread: imports and Airflow's own answers take as long as they take, on a busy machine.
        with noted(channel, [], reasons) as secrets:
            connection = BaseHook.get_connection(channel.connection)
            secrets += secrets_of(connection)
            post = SENDERS[channel.kind](channel, connection, message)
            threads[channel] = threading.Thread(target=_attempt, args=(post, channel, secrets, reasons), daemon=True)
    for thread in threads.values():
        thread.start()
    limit = time.monotonic() + SEND_SECONDS
    for channel, thread in threads.items():
        thread.join(max(0.0, limit - time.monotonic()))
        if channel not in reasons:
            _silent[channel] = time.monotonic() + SILENCE_SECONDS
    return {channel: reasons.get(channel, f"no answer within {SEND_SECONDS:g} s") for channel in channels}


def _attempt(post: Post, channel: Channel, secrets: list[str], reasons: dict[Channel, str | None]) -> None:
    with noted(channel, secrets, reasons):
        post()
        reasons[channel] = None


@contextmanager
def noted(channel: Channel, secrets: list[str], reasons: dict[Channel, str | None]) -> Iterator[list[str]]:
    """Whatever fails inside becomes the channel's reason, without these secrets."""
    try:
        yield secrets
    except Exception as error:  # noqa: BLE001 - whatever a server or a provider thinks of
        reasons[channel] = one_line(hide(str(error) or type(error).__name__, secrets))


def secrets_of(connection: Any) -> list[str]:
    """What of a connection may not be shown: its password, also as part of an address, and the secrets in `extra`."""
    password = connection.password or ""
    path = urlsplit(password).path if "://" in password else ""
    extra = {name: value for name, value in connection.extra_dejson.items() if isinstance(value, str)}
    return [password, password.strip("/"), path, *secrets_in(extra)]


def _slack(channel: Channel, connection: Any, message: Message) -> Post:
    from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier

    notifier = SlackWebhookNotifier(
        slack_webhook_conn_id=channel.connection,
        text=slack_text(message),
        timeout=ANSWER_SECONDS,
        unfurl_links=False,
        retry_handlers=[],  # the default one writes the address, which is the secret, into the log
    )
    notifier.hook.get_conn()  # looks up the connection, once
    return partial(notifier.notify, {})  # not by calling it: that would render the text as a template


def _email(channel: Channel, connection: Any, message: Message) -> Post:
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    notifier = SmtpNotifier(
        to=list(channel.to),
        subject=email_subject(message),
        html_content=email_html(message),
        smtp_conn_id=channel.connection,
    )
    return partial(notifier.notify, {})


def _feishu(channel: Channel, connection: Any, message: Message) -> Post:
    """Feishu and Lark have no provider of their own. The hook makes the session that the connection describes; it does
    not send, as it writes the address, which is the secret, into the log when a server cannot be reached."""
    from airflow.providers.http.hooks.http import HttpHook

    if not connection.password:
        raise NotSent("the connection has no password, which is where the token of the bot's webhook address belongs")
    hook = HttpHook("POST", channel.connection)
    session = hook.get_conn()
    secret = session.headers.pop("secret", None)  # Airflow makes a header of whatever it does not know in `extra`
    session.auth = None
    token = connection.password
    base = hook.base_url if connection.host else FEISHU_HOSTS[channel.kind]
    address = token if "://" in token else f"{base.rstrip('/')}/{token.strip('/')}"
    body = feishu_body(message, LANGUAGES[channel.kind], secret, int(time.time()))
    return partial(_post_to_bot, session, address, body)


def _post_to_bot(session: Any, address: str, body: Mapping[str, Any]) -> None:
    answer = session.post(address, json=body, timeout=ANSWER_SECONDS)
    if answer.status_code != 200:
        raise NotSent(f"HTTP status {answer.status_code}: {answer.text[:200]}")
    told = answer.json()
    if told.get("code", told.get("StatusCode", 0)) != 0:  # a refusal comes with status 200
        raise NotSent(f"refused with code {told.get('code')}: {told.get('msg')}")


SENDERS: Mapping[str, Callable[[Channel, Any, Message], Post]] = {
    "slack": _slack,
    "feishu": _feishu,
    "lark": _feishu,
    "email": _email,
}
