import pytest
from airflow.api_fastapi.app import create_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.core_api.security import get_user
from fastapi.testclient import TestClient

from llm_eval.airflow.web import app


@pytest.fixture
def anonymous(place):
    create_auth_manager()  # as the API server does when it starts
    return TestClient(app)


def logged_in(role):
    create_auth_manager()
    app.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username="somebody", role=role)
    return TestClient(app)


@pytest.fixture
def visitor(place):
    yield logged_in("VIEWER")
    app.dependency_overrides.clear()


@pytest.fixture
def stranger(place):
    yield logged_in(None)
    app.dependency_overrides.clear()


@pytest.mark.parametrize("path", ["/", "/suites/small", "/suites/none"])
def test_nobody_gets_in_without_airflows_login(anonymous, path):
    assert anonymous.get(path).status_code == 401
    assert anonymous.get(path, headers={"Authorization": "Bearer made-up"}).status_code in {401, 403}


@pytest.mark.parametrize("path", ["/", "/suites/small"])
def test_who_is_logged_in_and_may_not_read_dags_sees_nothing(stranger, place, path):
    write_leaderboard(place, "<h1>small</h1>")

    assert stranger.get(path).status_code == 403


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_there_are_no_routes_that_the_login_does_not_cover(anonymous, path):
    assert anonymous.get(path).status_code == 404


def write_leaderboard(place, text):
    page = place.root / "leaderboards" / "small" / "leaderboard.html"
    page.parent.mkdir(parents=True)
    page.write_text(text)


def test_suites_with_results_are_links(visitor, place):
    assert "small: nothing published yet" in visitor.get("/").text

    write_leaderboard(place, "<h1>small</h1>")

    assert '<a href="suites/small">small</a>' in visitor.get("/").text


def test_a_leaderboard_is_served_as_it_lies_there_and_may_run_nothing(visitor, place):
    write_leaderboard(place, "<h1>small</h1><script>alert(1)</script>")

    answer = visitor.get("/suites/small")

    assert answer.text == "<h1>small</h1><script>alert(1)</script>"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["none", "%2e%2e", "..%2f..%2fetc", "Small", "a_b"])
def test_there_is_no_page_beside_the_leaderboards(visitor, place, name):
    write_leaderboard(place, "")

    assert visitor.get(f"/suites/{name}").status_code == 404
