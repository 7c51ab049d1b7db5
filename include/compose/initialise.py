"""What must be there before Airflow's components start, made where it is missing: run at each `docker compose up`.

Database, pools, the bucket of the root, the password of the UI. What is there already keeps its value: pools that an
operator has resized, a password that was changed.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs

from llm_eval import settings
from llm_eval.airflow.home import USER, password_of
from llm_eval.settings import Settings

logger = logging.getLogger("initialise")

PASSWORDS = "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"


def main() -> int:
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    make_bucket(Settings.from_environment(os.environ).root)
    airflow("db", "migrate")
    wanted = with_gpus(json.loads((settings.HOME / "include" / "pools.json").read_text()), gpus())
    known = {pool["pool"] for pool in json.loads(airflow("pools", "list", "--output", "json"))}
    make_pools({name: pool for name, pool in wanted.items() if name not in known})
    passwords = Path(os.environ[PASSWORDS])
    password = password_of(passwords)
    logger.info("\n  Airflow      %s\n  user         %s", os.environ["AIRFLOW__API__BASE_URL"], USER)
    logger.info("  password     %s   (%s)\n", password, passwords)
    return 0


def gpus() -> int:
    return int(os.environ.get("LLM_EVAL_GPUS") or 1)


def with_gpus(pools: dict[str, dict[str, Any]], count: int) -> dict[str, dict[str, Any]]:
    """The pools, with a slot of `gpu` for each GPU: what a pool lets through and no worker takes would fail."""
    return {**pools, "gpu": {**pools["gpu"], "slots": count}}


def make_bucket(root: str) -> None:
    """The first folder of a root on an object store; every other root makes its own folders when written to."""
    filesystem, path = url_to_fs(root)
    bucket = path.split("/")[0]
    if "s3" in filesystem.protocol and not filesystem.exists(bucket):
        filesystem.mkdir(bucket)
        logger.info("%s: made the bucket %s", root, bucket)


def make_pools(missing: dict[str, dict[str, Any]]) -> None:
    if not missing:
        return
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(missing, file)
        file.flush()
        airflow("pools", "import", file.name)
    logger.info("made the pools %s", ", ".join(missing))


def airflow(*arguments: str) -> str:
    """What the command writes to its standard output. Its complaints are the container's."""
    done = subprocess.run(["airflow", *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        logger.error("airflow %s ended with %d\n%s", " ".join(arguments), done.returncode, done.stdout)
        sys.exit(done.returncode)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
