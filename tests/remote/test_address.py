"""Which Airflow the command line speaks to."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from llm_eval.errors import InputError
from llm_eval.remote.address import PASSWORD, RUNNING_FILE, URL, USER, connect


@pytest.fixture
def server():
    """As much of an API server as a login needs; `logins`: what it was given."""

    class Api(BaseHTTPRequestHandler):
        logins = []  # noqa: RUF012

        def do_GET(self):
            self.answer({})

        def do_POST(self):
            self.logins.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.answer({"access_token": "t"})

        def answer(self, body):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as listening:
        Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}", Api.logins
        listening.shutdown()


def home(folder, name, url):
    made = folder / name
    made.mkdir()
    (made / RUNNING_FILE).write_text(json.dumps({"url": url, "user": "admin", "passwords": "p.json"}))
    (made / "p.json").write_text(json.dumps({"admin": name}))
    return made


def test_the_airflow_that_runs_is_found_beside_one_that_was_killed(tmp_path, server):
    url, logins = server
    killed = home(tmp_path, "airflow", "http://127.0.0.1:1")
    home(tmp_path, "airflow-2", url)
    connect({"AIRFLOW_HOME": str(killed)})
    assert logins == [{"username": "admin", "password": "airflow-2"}]


def test_the_environment_names_any_other(tmp_path, server):
    url, logins = server
    connect({URL: f"{url}/", USER: "me", PASSWORD: "secret", "AIRFLOW_HOME": str(tmp_path)})
    assert logins == [{"username": "me", "password": "secret"}]


@pytest.mark.parametrize(
    ("environment", "reason"), [({}, "Start one with `make up`"), ({URL: "u", USER: "me"}, PASSWORD)]
)
def test_without_one_it_says_how_to_name_it(tmp_path, environment, reason):
    with pytest.raises(InputError, match=reason):
        connect({"AIRFLOW_HOME": str(tmp_path / "airflow"), **environment})
