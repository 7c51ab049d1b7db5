"""docker-compose.yaml as plain YAML, and docker compose itself where this machine has its second version."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
COMPOSE_FILE = CHECKOUT / "docker-compose.yaml"
EXAMPLE = CHECKOUT / ".env.example"
SECRETS = {
    "AIRFLOW_FERNET_KEY",
    "AIRFLOW_JWT_SECRET",
    "AIRFLOW_API_SECRET_KEY",
    "POSTGRES_PASSWORD",
    "REDIS_PASSWORD",
    "LLM_EVAL_S3_ACCESS_KEY",
    "LLM_EVAL_S3_SECRET_KEY",
}
VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?::?[-?+][^{}]*)?\}")

Service = dict[str, Any]


def compose_file() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
    return content


def services() -> dict[str, Service]:
    found: dict[str, Service] = compose_file()["services"]
    return found


def variables(text: str) -> set[str]:
    """What Compose would look up in .env."""
    return {match["name"] for match in VARIABLE.finditer(text)}


def example_variables() -> dict[str, str | None]:
    """Variables of .env.example: those that are set, and those that are commented out with their default."""
    found: dict[str, str | None] = {}
    for line in EXAMPLE.read_text().splitlines():
        if match := re.fullmatch(r"(?P<off># )?(?P<name>[A-Z][A-Z0-9_]+)=(?P<value>.*)", line):
            found[match["name"]] = match["value"]
    return found


def compose_command() -> list[str] | None:
    """docker compose 2: what TEST_DOCKER_COMPOSE names, else the first there is, or None."""
    named = os.environ.get("TEST_DOCKER_COMPOSE")
    downloaded = CHECKOUT / "var" / "containers" / "docker-compose"
    candidates = [[named]] if named else [["docker", "compose"], ["docker-compose"], [str(downloaded)]]
    return next((command for command in candidates if _is_second_version(command)), None)


def _is_second_version(command: list[str]) -> bool:
    if shutil.which(command[0]) is None:
        return False
    said = subprocess.run([*command, "version", "--short"], capture_output=True, text=True, check=False)
    return said.returncode == 0 and not said.stdout.startswith("1.")


def make_env(path: Path, **values: str) -> Path:
    """A .env as make-env.sh writes it, with these values after its own: the last one counts."""
    subprocess.run(["sh", CHECKOUT / "include" / "compose" / "make-env.sh", path], check=True, capture_output=True)
    with path.open("a") as file:
        file.writelines(f"{name}={value}\n" for name, value in values.items())
    return path


def environment_of(service: Service) -> Mapping[str, str]:
    environment: Mapping[str, str] = service.get("environment") or {}
    return environment
