"""Where to ask, and with which keys. Keys are read from the environment here and go nowhere but into requests."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from llm_eval.backends.openai.faults import Fault
from llm_eval.errors import InputError
from llm_eval.fingerprint import fingerprint
from llm_eval.specs import OpenAIBackend, connection_variables

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OPENAI = "https://api.openai.com/v1"
NO_KEY = "none"  # the SDK wants one, servers on one's own machines do not


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address with one key."""

    url: str
    variable: str | None
    client: AsyncOpenAI = field(repr=False)
    key: str = field(repr=False)

    def __str__(self) -> str:
        return self.url

    def hidden(self, fault: Fault) -> Fault:
        """The fault without the key, which servers quote."""
        return replace(fault, words=self.shown(fault.words))

    def shown(self, words: str) -> str:
        return words.replace(self.key, "***") if self.variable else words

    def advice(self, fault: Fault) -> str:
        if fault.words.startswith(("401", "403")):
            return (
                f". Is the key in {self.variable} right?" if self.variable else ". Name its key's variable in `keys`."
            )
        if fault.words.startswith("404"):
            return ". Is backend.model what the server calls it, and base_urls down to its `/v1`?"
        return ""


def endpoints(spec: OpenAIBackend, owner: str) -> list[Endpoint]:
    """Every address with every key. Raises InputError for a variable that is not set."""
    from openai import AsyncOpenAI, DefaultAioHttpClient

    for library in ("httpx", "httpx2"):
        logging.getLogger(library).setLevel(logging.WARNING)  # a line for each request otherwise
    found = []
    for variable in (*spec.keys, *([connection_variables(spec.connection)[0]] if spec.connection else ())) or (None,):
        key = os.environ.get(variable, "") if variable else NO_KEY
        if not key:
            raise InputError(f"{owner}: {_what_is_missing(spec, str(variable))}")
        for url in addresses(spec, os.environ):
            client = AsyncOpenAI(
                api_key=key,
                base_url=url,
                timeout=spec.timeout_seconds,
                max_retries=0,  # we try again ourselves, and count
                http_client=DefaultAioHttpClient(timeout=spec.timeout_seconds),
            )
            found.append(Endpoint(url, variable, client, key))
    return found


def addresses(spec: OpenAIBackend, environment: Mapping[str, str]) -> tuple[str, ...]:
    if spec.base_urls or spec.connection is None:
        return spec.base_urls or (OPENAI,)
    return (environment.get(connection_variables(spec.connection)[1]) or OPENAI,)


def server_of(spec: OpenAIBackend) -> list[str]:
    """What names the server where nothing may be looked up: its addresses, or the connection that has its address."""
    if spec.base_urls or spec.connection is None:
        return sorted(spec.base_urls or [OPENAI])
    return [f"connection {spec.connection}"]


def identity_of(spec: OpenAIBackend) -> str:
    """Changes whenever the answers might."""
    return fingerprint(server_of(spec), spec.model, sorted(spec.omit), spec.extra_body, spec.attempts_in_one_request)


def _what_is_missing(spec: OpenAIBackend, variable: str) -> str:
    if variable in spec.keys:
        return f"the environment variable {variable}, named in backend.keys, is not set here"
    return (
        f"the Airflow connection {spec.connection!r}, named in backend.connection, gives no key here: it does not "
        f"exist, has no password, or this is no task of Airflow (then set {variable})"
    )
