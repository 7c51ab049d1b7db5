from collections.abc import Iterator
from contextlib import AbstractContextManager

import psycopg2
import pytest
from redis import Redis

from tests.services import NotInstalled, postgresql, redis


def started(service: AbstractContextManager[str]) -> Iterator[str]:
    try:
        with service as address:
            yield address
    except NotInstalled as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def database():
    yield from started(postgresql())


@pytest.fixture(scope="module")
def broker():
    yield from started(redis())


def test_a_postgresql_for_a_test_takes_what_is_written_to_it(database):
    with psycopg2.connect(database.replace("+psycopg2", "")) as connection, connection.cursor() as cursor:
        cursor.execute("create table t as select 'ß' as c")
        cursor.execute("select c from t")

        assert cursor.fetchone() == ("ß",)


def test_a_redis_for_a_test_takes_what_is_written_to_it(broker):
    with Redis.from_url(broker) as client:
        client.set("key", "value")

        assert client.get("key") == b"value"
