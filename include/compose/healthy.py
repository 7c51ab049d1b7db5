"""Exit code 0 while what this container is for is done: the health check of each service that is ours.

    python healthy.py http URL       a server answers
    python healthy.py job TYPE       Airflow's component of this container has told the database so, lately
    python healthy.py worker QUEUE   Celery's worker of this container answers

`airflow jobs check` and the ping of Airflow's own Celery application say the same, but take three CPU seconds each
time, in each of five containers; these take a tenth.
"""

from __future__ import annotations

import os
import socket
import sys
from urllib.request import urlopen

SILENCE_SECONDS = 60.0  # Airflow's components tell of themselves every five
WAIT_SECONDS = 10.0


def server_answers(url: str) -> bool:
    with urlopen(url, timeout=WAIT_SECONDS) as answer:  # noqa: S310 - the address stands in docker-compose.yaml
        return bool(answer.status == 200)


def job_is_alive(job_type: str) -> bool:
    """Whether a job of this type has run in this container within SILENCE_SECONDS."""
    import psycopg2

    address = os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("postgresql+psycopg2://", "postgresql://")
    connection = psycopg2.connect(address, connect_timeout=int(WAIT_SECONDS))
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM job WHERE job_type = %s AND state = 'running' AND starts_with(hostname, %s)"
                " AND latest_heartbeat > now() - make_interval(secs => %s)",
                (job_type, socket.gethostname(), SILENCE_SECONDS),
            )
            return bool(cursor.fetchone()[0])
    finally:
        connection.close()


def worker_answers(queue: str) -> bool:
    from celery import Celery

    application = Celery(broker=os.environ["AIRFLOW__CELERY__BROKER_URL"])
    name = f"{queue}@{socket.gethostname()}"
    return bool(application.control.inspect(destination=[name], timeout=WAIT_SECONDS).ping())


CHECKS = {"http": server_answers, "job": job_is_alive, "worker": worker_answers}


def main(kind: str, name: str) -> int:
    is_healthy = CHECKS[kind](name)
    if not is_healthy:
        print(f"{kind} {name}: no sign of life", file=sys.stderr)  # noqa: T201 - docker inspect shows it
    return 0 if is_healthy else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
