"""The leaderboard pages inside Airflow's UI: what the leaderboard DAGs wrote, for users that may read DAGs.

Model output is in these pages and is hostile until proven otherwise: beside the escaping where they are made, the
policy below lets them load and run nothing.
"""

from __future__ import annotations

import html
import os
import re

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import HTMLResponse

from llm_eval import layout, storage
from llm_eval.catalog import Catalog
from llm_eval.settings import Settings

POLICY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
SUITE = re.compile(r"[a-z0-9][a-z0-9.-]*")
STYLE = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color-scheme:light dark}"

# Airflow does not protect what plugins mount: the dependency does, for every route. Who is only logged in, at Keycloak
# anyone of its realm, sees nothing, as elsewhere in Airflow. The documentation routes would escape it: there are none.
app = FastAPI(
    title="LLM leaderboards",
    docs_url=None,
    redoc_url=None,
    openapi_url=None,
    dependencies=[Depends(requires_access_dag("GET"))],
)


@app.get("/")
def suites() -> HTMLResponse:
    """Every suite, those with a leaderboard as links."""
    settings = Settings.from_environment(os.environ)
    items = []
    for name in Catalog(settings.catalogs).names("suites"):
        there = storage.exists(_page(settings, name))
        shown = html.escape(name)
        items.append(
            f'<li><a href="suites/{shown}">{shown}</a></li>' if there else f"<li>{shown}: nothing published yet</li>"
        )
    body = f"<ul>{''.join(items)}</ul>" if items else "<p>The catalog has no suite.</p>"
    return HTMLResponse(
        f'<!doctype html><meta charset="utf-8"><title>LLM leaderboards</title><style>{STYLE}</style>'
        f"<h1>LLM leaderboards</h1>{body}",
        headers=POLICY,
    )


@app.get("/suites/{suite}")
def leaderboard(suite: str) -> HTMLResponse:
    """The suite's leaderboard.html as it lies under the root."""
    settings = Settings.from_environment(os.environ)
    # The name becomes part of an address, so it must look like one of the catalog's before it is looked for.
    if not SUITE.fullmatch(suite) or not storage.exists(_page(settings, suite)):
        raise HTTPException(404, "no such leaderboard: no suite of this name has published results yet", headers=POLICY)
    return HTMLResponse(storage.read_bytes(_page(settings, suite)), headers=POLICY)


def _page(settings: Settings, suite: str) -> str:
    return layout.join(layout.leaderboard(settings.root, suite), "leaderboard.html")
