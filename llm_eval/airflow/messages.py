"""What a message says, and how each kind of channel wants it written. Pure: no Airflow, nothing is sent.

Model output never stands in a message: only names from the catalog, numbers, and the words of our own errors. Those
may quote what a user wrote, so everything is escaped where it is put into markup.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_LINES = 12
MAX_CHARACTERS = 500  # of one line
HIDDEN = "***"
LINK_TEXT = "Open the run in Airflow"

_URL_LOGIN = re.compile(r"(?<=://)[^/\s@]+@")
_SECRET_NAME = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)
_SHORTEST_SECRET = 8  # shorter values, such as "true", are words that a message may need


@dataclass(frozen=True, slots=True)
class Message:
    """`facts`: names and values, such as ("model", "demo"); `lines`: why, or what changed; `link`: to the run."""

    title: str
    facts: tuple[tuple[str, str], ...] = ()
    lines: tuple[str, ...] = ()
    link: str | None = None


def one_line(text: str) -> str:
    """`text` without line breaks and control characters, cut to MAX_CHARACTERS."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= MAX_CHARACTERS else f"{line[: MAX_CHARACTERS - 1]}…"


def few(lines: Iterable[str]) -> tuple[str, ...]:
    """At most MAX_LINES of them, and then how many more there are."""
    shown = [one_line(line) for line in lines]
    rest = len(shown) - MAX_LINES
    return tuple(shown) if rest <= 0 else (*shown[:MAX_LINES], f"… and {rest} more")


def hide(text: str, secrets: Iterable[str]) -> str:
    """`text` with each of these secrets replaced, and the user and password of every URL."""
    for secret in sorted({s for s in secrets if s}, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _URL_LOGIN.sub(f"{HIDDEN}@", text)


def secrets_in(environment: Mapping[str, str]) -> list[str]:
    """Values of the variables whose names say that they hold a secret."""
    named = (value for name, value in environment.items() if _SECRET_NAME.search(name))
    return [value for value in named if len(value) >= _SHORTEST_SECRET]


def slack_text(message: Message) -> str:
    """Slack's mrkdwn. Values stand in code spans, where neither Slack nor Mattermost looks for markup or mentions."""
    parts = [f"*{_mrkdwn(message.title)}*"]
    parts += [f"{name}: `{_mrkdwn(value)}`" for name, value in message.facts]
    parts += [f"`{_mrkdwn(line)}`" for line in message.lines]
    if message.link:
        parts.append(f"<{_mrkdwn(message.link)}|{LINK_TEXT}>")
    return "\n".join(parts)


def _mrkdwn(text: str) -> str:
    # Source: https://api.slack.com/reference/surfaces/formatting#escaping; nothing escapes a backtick.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("`", "'")


def feishu_body(message: Message, language: str, secret: str | None, now: int) -> dict[str, Any]:
    """A `post` for a custom bot: its text elements are shown as they are. `now`: Unix time, which a signature holds.

    Source: https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
    """
    texts = [*(f"{name}: {value}" for name, value in message.facts), *message.lines]
    rows = [[{"tag": "text", "text": text}] for text in texts]
    if message.link:
        rows.append([{"tag": "a", "text": LINK_TEXT, "href": message.link}])
    body: dict[str, Any] = {
        "msg_type": "post",
        "content": {"post": {language: {"title": message.title, "content": rows}}},
    }
    if secret:
        digest = hmac.new(f"{now}\n{secret}".encode(), digestmod=hashlib.sha256).digest()
        body |= {"timestamp": str(now), "sign": base64.b64encode(digest).decode()}
    return body


def email_subject(message: Message) -> str:
    return f"[llm-eval] {one_line(message.title)}"


def email_html(message: Message) -> str:
    facts = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in message.facts
    )
    lines = "".join(f"<pre>{html.escape(line)}</pre>" for line in message.lines)
    link = f'<p><a href="{html.escape(message.link)}">{LINK_TEXT}</a></p>' if message.link else ""
    return f"<h3>{html.escape(message.title)}</h3><table>{facts}</table>{lines}{link}"
