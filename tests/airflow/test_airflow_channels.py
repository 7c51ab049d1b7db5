"""Messages through the real providers to real servers on this machine."""

import base64
import hashlib
import hmac
import json
import logging
import os
import subprocess
import sys
import time

import pytest

from llm_eval.airflow import channels
from llm_eval.airflow.channels import send, tell
from llm_eval.airflow.messages import Message
from llm_eval.settings import HOME
from llm_eval.specs import Channel
from tests.airflow.receivers import mailbox, webhooks

HOSTILE = "x</pre><script>alert(1)</script> <!channel> @here `code` {{ 7 * 7 }} & *bold*"
MESSAGE = Message(
    title="demo on gsm8k failed",
    facts=(("model", "demo"), ("checkpoint", "step-0240")),
    lines=(f"infer[1]: {HOSTILE}",),
    link="http://airflow.example/dags/eval__demo__gsm8k/runs/manual__2026%2B00",
)


@pytest.fixture(autouse=True)
def _nobody_hung_before(monkeypatch):
    monkeypatch.setattr(channels, "_silent", {})


@pytest.fixture
def connect(monkeypatch):
    """Makes an Airflow connection, as its users may: by an environment variable."""

    def make(name, **values):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(values))
        return name

    return make


@pytest.fixture(scope="module")
def server():
    with webhooks() as receiver:
        yield receiver


@pytest.fixture
def hooks(server):
    server.came.clear()
    server.headers.clear()
    return server


def slack(connection="chat"):
    return Channel(kind="slack", connection=connection)


def feishu(connection="bot", kind="feishu"):
    return Channel(kind=kind, connection=connection)


def test_slack_gets_escaped_text_and_a_link(hooks, connect):
    connect("chat", conn_type="slackwebhook", host=f"{hooks.url}/ok", password="T0/B0/XYZ")

    assert send([slack()], MESSAGE) == {slack(): None}

    ((path, body),) = hooks.came
    assert path == "/ok/T0/B0/XYZ"
    assert body["text"] == (
        "*demo on gsm8k failed*\n"
        "model: `demo`\n"
        "checkpoint: `step-0240`\n"
        "`infer[1]: x&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt; &lt;!channel&gt; @here 'code' {{ 7 * 7 }} "
        "&amp; *bold*`\n"
        "<http://airflow.example/dags/eval__demo__gsm8k/runs/manual__2026%2B00|Open the run in Airflow>"
    )


def test_a_server_that_takes_slacks_messages_is_reached_by_its_whole_address(hooks, connect):
    connect("chat", conn_type="slackwebhook", password=f"{hooks.url}/ok/hooks/mattermost-token")

    assert send([slack()], MESSAGE) == {slack(): None}

    assert [path for path, _ in hooks.came] == ["/ok/hooks/mattermost-token"]


@pytest.mark.parametrize(("kind", "language"), [("feishu", "zh_cn"), ("lark", "en_us")])
def test_feishu_and_lark_get_a_signed_post(hooks, connect, kind, language):
    connect("bot", conn_type="http", host=f"{hooks.url}/bot", password="token-1", extra={"secret": "signing-secret"})

    assert send([feishu(kind=kind)], MESSAGE) == {feishu(kind=kind): None}

    ((path, body),) = hooks.came
    assert path == "/bot/token-1"
    assert body["msg_type"] == "post"
    assert body["content"]["post"] == {
        language: {
            "title": "demo on gsm8k failed",
            "content": [
                [{"tag": "text", "text": "model: demo"}],
                [{"tag": "text", "text": "checkpoint: step-0240"}],
                [{"tag": "text", "text": f"infer[1]: {HOSTILE}"}],
                [{"tag": "a", "text": "Open the run in Airflow", "href": MESSAGE.link}],
            ],
        }
    }
    key = f"{body['timestamp']}\nsigning-secret".encode()
    assert base64.b64decode(body["sign"]) == hmac.new(key, digestmod=hashlib.sha256).digest()
    assert abs(int(body["timestamp"]) - time.time()) < 60
    assert "signing-secret" not in str(hooks.headers)


def test_a_bot_without_a_secret_gets_no_signature(hooks, connect):
    connect("bot", conn_type="http", password=f"{hooks.url}/bot/token-2")

    assert send([feishu()], MESSAGE) == {feishu(): None}

    assert set(hooks.came[0][1]) == {"msg_type", "content"}


def test_an_email_reaches_all_its_receivers_with_everything_escaped(connect):
    with mailbox() as box:
        connect("mail", **smtp(box.port))
        channel = Channel(kind="email", connection="mail", to=("a@example.org", "b@example.org"))

        assert send([channel], MESSAGE) == {channel: None}

    (letter,) = box.letters
    assert (letter.sender, letter.receivers) == ("eval@example.org", ["a@example.org", "b@example.org"])
    assert letter.message["Subject"] == "[llm-eval] demo on gsm8k failed"
    assert letter.html == (
        "<h3>demo on gsm8k failed</h3>"
        "<table><tr><td>model</td><td>demo</td></tr><tr><td>checkpoint</td><td>step-0240</td></tr></table>"
        "<pre>infer[1]: x&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt; &lt;!channel&gt; @here `code` {{ 7 * 7 }} "
        "&amp; *bold*</pre>"
        f'<p><a href="{MESSAGE.link}">Open the run in Airflow</a></p>'
    )


def smtp(port):
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "eval@example.org"}
    return {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra}


def test_a_title_with_a_line_break_cannot_add_a_header(connect):
    with mailbox() as box:
        connect("mail", **smtp(box.port))
        channel = Channel(kind="email", connection="mail", to=("a@example.org",))
        send([channel], Message("late\nBcc: everybody@example.org"))

    assert box.letters[0].message["Subject"] == "[llm-eval] late Bcc: everybody@example.org"
    assert box.letters[0].receivers == ["a@example.org"]


@pytest.mark.parametrize(
    ("channel", "connection", "reason"),
    [
        (slack(), None, "The conn_id `chat` isn't defined"),
        (slack(), {"conn_type": "slackwebhook", "host": "{url}/ok"}, "does not contain password"),
        (slack(), {"conn_type": "slackwebhook", "host": "{url}/gone", "password": "s3cret-token"}, "Status Code: 404"),
        (slack(), {"conn_type": "slackwebhook", "host": "http://127.0.0.1:1", "password": "s3cret-token"}, "refused"),
        (feishu(), {"conn_type": "http", "host": "{url}/bot"}, "the connection has no password"),
        (feishu(), {"conn_type": "http", "host": "{url}/gone", "password": "s3cret-token"}, "HTTP status 404"),
        (
            feishu(),
            {"conn_type": "http", "host": "{url}/refuses", "password": "s3cret-token"},
            "refused with code 19001",
        ),
        (feishu(), {"conn_type": "http", "host": "http://127.0.0.1:1", "password": "s3cret-token"}, "refused"),
        (feishu(), {"conn_type": "http", "password": "http://127.0.0.1:1/s3cret-token"}, "refused"),
        (
            Channel(kind="email", connection="chat", to=("a@example.org",)),
            {"conn_type": "smtp", "host": "127.0.0.1", "port": 1, "extra": {"disable_ssl": True}},
            "refused",
        ),
    ],
)
def test_a_wrong_connection_costs_one_warning_that_names_it_and_hides_its_secret(
    hooks, connect, caplog, channel, connection, reason
):
    if connection is not None:
        connect(channel.connection, **json.loads(json.dumps(connection).replace("{url}", hooks.url)))

    with caplog.at_level(logging.INFO):
        tell([channel], MESSAGE)

    ((_, level, words),) = [r for r in caplog.record_tuples if r[0] == channels.__name__]
    assert level == logging.WARNING
    assert words.startswith(f"no message to {channel.kind} (connection {channel.connection!r}): ")
    assert reason in words
    assert "s3cret-token" not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("path", ["hangs", "drips"])
def test_a_server_that_does_not_answer_delays_nobody_for_long_and_is_not_asked_again(hooks, connect, monkeypatch, path):
    monkeypatch.setattr(channels, "SEND_SECONDS", 10.0)
    monkeypatch.setattr(channels, "ANSWER_SECONDS", 60)
    connect("chat", conn_type="slackwebhook", host=f"{hooks.url}/{path}", password="T0/B0/XYZ")
    connect("other", conn_type="slackwebhook", host=f"{hooks.url}/ok", password="T1/B1/XYZ")
    began = time.monotonic()

    first = send([slack(), slack("other")], MESSAGE)
    took = time.monotonic() - began
    second = send([slack(), slack("other")], MESSAGE)

    assert first == {slack(): "no answer within 10 s", slack("other"): None}
    assert 10.0 <= took < 60.0
    assert second == {slack(): "left out: it hung before", slack("other"): None}
    assert len(hooks.bodies(f"/{path}")) == 1
    assert len(hooks.bodies("/ok")) == 2


@pytest.mark.slow
def test_channels_can_be_tried_from_the_command_line(hooks, connect, place):
    connect("chat", conn_type="slackwebhook", host=f"{hooks.url}/ok", password="T0/B0/XYZ")
    channels = [{"kind": "slack", "connection": name} for name in ("chat", "absent")]
    place.write("suites", "small", {**place.suite, "notify": channels})
    command = [sys.executable, "-m", "llm_eval.airflow.try_channels", "small"]

    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True)

    assert done.stdout.splitlines() == [
        "slack (connection 'chat'): sent",
        "slack (connection 'absent'): not sent: The conn_id `absent` isn't defined",
    ], done.stderr
    assert done.returncode == 1
    assert hooks.texts() == ["*this is a test*\nsuite: `small`\n`Nothing has happened.`"]


@pytest.mark.slow
def test_nothing_of_a_provider_is_imported_before_something_is_sent():
    script = (
        "import sys; import llm_eval.airflow.factory, llm_eval.airflow.notify\n"
        "heavy = ('slack_sdk', 'requests', 'aiosmtplib', 'aiohttp')\n"
        "print([name for name in heavy if name in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=HOME, env=dict(os.environ), capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
