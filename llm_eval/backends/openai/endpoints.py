"""Where to ask, and with which keys. Keys are read from the environment here and go nowhere but into requests."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from llm_eval.backends.openai.faults import Fault
from llm_eval.errors import InputError
from llm_eval.specs import OpenAIBackend

if TYPE_CHECKING:
    from openai import AsyncOpenAI

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
        return replace(fault, words=fault.words.replace(self.key, "***")) if self.variable else fault

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
    for variable in spec.keys or (None,):
        key = os.environ.get(variable, "") if variable else NO_KEY
        if not key:
            raise InputError(f"{owner}: the environment variable {variable}, named in backend.keys, is not set here")
        for url in spec.base_urls:
            client = AsyncOpenAI(
                api_key=key,
                base_url=url,
                timeout=spec.timeout_seconds,
                max_retries=0,  # we try again ourselves, and count
                http_client=DefaultAioHttpClient(timeout=spec.timeout_seconds),
            )
            found.append(Endpoint(url, variable, client, key))
    return found
