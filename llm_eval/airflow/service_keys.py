"""The key of a served model that an Airflow connection holds, for as long as a task needs it.

The library reads keys from environment variables and knows nothing of Airflow. What a connection holds is put into
those of the task's own process, which Airflow has forked for it, and taken out again. A pod gets nothing: its template
sets the same variables from a Kubernetes secret.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from llm_eval.specs import ModelSpec, OpenAIBackend, connection_variables


@contextmanager
def connections_of(*models: ModelSpec) -> Iterator[None]:
    """With what the models' connections hold in the environment."""
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(connection_of(model))
        yield


@contextmanager
def connection_of(model: ModelSpec) -> Iterator[None]:
    """With what the model's connection holds in the environment. One that does not exist leaves it as it is: whoever
    needs the key says that it is missing."""
    spec = model.backend
    if not isinstance(spec, OpenAIBackend) or spec.connection is None:
        yield
        return
    try:
        connection = BaseHook.get_connection(spec.connection)
    except AirflowNotFoundException:
        yield
        return
    values = {name: value for name, value in _variables(spec.connection, connection).items() if value}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _variables(name: str, connection: Any) -> dict[str, str]:
    """The password, and the host as an address: `https://host:port/v1` where it is no whole address itself."""
    key, url = connection_variables(name)
    host = connection.host or ""
    if host and "://" not in host:
        port = f":{connection.port}" if connection.port else ""
        host = f"{connection.schema or 'https'}://{host}{port}/v1"
    return {key: connection.password or "", url: host.rstrip("/")}
