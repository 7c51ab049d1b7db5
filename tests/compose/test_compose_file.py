"""What docker-compose.yaml promises of each service, read as plain YAML."""

import re

import pytest

from llm_eval.airflow.environment import Ports, airflow_settings
from tests.compose.files import (
    CHECKOUT,
    COMPOSE_FILE,
    SECRETS,
    compose_file,
    environment_of,
    example_variables,
    services,
    variables,
)

ONE_SHOT = {"airflow-init", "demo"}  # they end by themselves: no health, no restart
# Of a machine of one's own: addresses, folders and numbers that are others in containers.
ELSEWHERE = re.compile(
    r"AIRFLOW_HOME|.*__(DAGS|PLUGINS|BASE_LOG)_FOLDER|.*_PASSWORDS_FILE|AIRFLOW__API__(HOST|PORT|BASE_URL)"
    r"|.*__EXECUTION_API_(SERVER_URL|TIMEOUT)|.*__SQL_ALCHEMY_CONN|.*__EXECUTOR|.*__DEFAULT_POOL_TASK_SLOT_COUNT"
)

each_service = pytest.mark.parametrize(("name", "service"), services().items(), ids=services())


@each_service
def test_every_service_says_when_it_is_healthy_and_is_started_again_unless_it_ends_by_itself(name, service):
    if name in ONE_SHOT:
        assert ("healthcheck" in service, service["restart"]) == (False, "no")
    else:
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
        assert service["restart"] == "unless-stopped"


@each_service
def test_every_port_is_open_to_this_machine_alone(name, service):
    assert [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")] == []


@each_service
def test_every_service_is_limited_and_may_not_become_more(name, service):
    assert "memory" in service["deploy"]["resources"]["limits"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    assert "privileged" not in service


@each_service
def test_our_own_images_run_as_an_ordinary_user_without_capabilities(name, service):
    if "LLM_EVAL_IMAGE" in service["image"]:
        assert service["user"] == "${AIRFLOW_UID:-50000}:0"
        assert service["cap_drop"] == ["ALL"]


@each_service
def test_every_part_of_airflow_is_told_the_same(name, service):
    if name.startswith("airflow-") or name == "demo":
        assert environment_of(service) == compose_file()["x-airflow-common"]["environment"]


@each_service
def test_what_comes_from_others_is_an_image_that_a_variable_can_replace_and_a_version_pins(name, service):
    image = re.fullmatch(r"\$\{(?P<variable>\w+_IMAGE):-(?P<name>[^:}]+):(?P<tag>[^}]+)\}", service["image"])
    if "LLM_EVAL_IMAGE:" not in service["image"]:
        assert image is not None
        assert image["tag"] != "latest"


def test_a_secret_has_no_value_in_any_file_and_starting_without_it_is_refused():
    asked = COMPOSE_FILE.read_text()
    for name in SECRETS:
        uses = re.findall(rf"\$\{{{name}[^}}]*\}}", asked)
        assert uses
        assert set(uses) == {f"${{{name}:?run include/compose/make-env.sh}}"}
    assert {name: example_variables()[name] for name in SECRETS} == dict.fromkeys(SECRETS, "")


def test_nothing_that_is_called_a_password_a_key_or_a_secret_is_written_out():
    telling = re.compile(r"(PASSWORD|SECRET|KEY|TOKEN|_CONN|BROKER_URL|RESULT_BACKEND|AUTH)$")
    for service in services().values():
        for name, value in environment_of(service).items():
            if telling.search(name):
                assert variables(value), name


def test_the_example_explains_every_variable_that_is_read_and_no_other():
    files = [COMPOSE_FILE, *(CHECKOUT / "include" / "compose").glob("*.env")]
    read = variables(COMPOSE_FILE.read_text()) | {"COMPOSE_PROFILES"}
    assert set(example_variables()) == read
    for file in files[1:]:
        assert {line.split("=")[0] for line in file.read_text().splitlines() if not line.startswith("#")} <= read


def test_the_examples_defaults_are_those_of_the_file():
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", COMPOSE_FILE.read_text()))
    assert {name: example_variables()[name] for name in defaults} == defaults


def test_airflow_is_set_as_make_up_sets_it():
    ours = compose_file()["x-airflow-common"]["environment"]
    theirs = airflow_settings(CHECKOUT / "var" / "airflow", Ports(1, 2))
    same = {name: value for name, value in theirs.items() if not ELSEWHERE.fullmatch(name)}
    assert {name: ours.get(name) for name in same} == same


def test_each_gpu_belongs_to_one_worker_that_runs_one_task_at_a_time():
    workers = {name: service for name, service in services().items() if name.startswith("airflow-worker-gpu")}
    devices = [
        service["deploy"]["resources"]["reservations"]["devices"][0] | {"profile": service["profiles"]}
        for service in workers.values()
    ]
    assert devices == [
        {
            "driver": "nvidia",
            "device_ids": [str(number)],
            "capabilities": ["gpu"],
            "profile": [f"gpu-{number}" if number else "gpu"],
        }
        for number in range(4)
    ]
    assert all("--concurrency=1" in service["command"] for service in workers.values())


def test_the_workers_of_celery_serve_the_queues_that_dags_use():
    from llm_eval.airflow.deployment import DEFAULT_QUEUE, GPU_QUEUE

    queues = {
        argument.removeprefix("--queues=")
        for service in services().values()
        for argument in service.get("command") or []
        if argument.startswith("--queues=")
    }
    assert queues == {DEFAULT_QUEUE, GPU_QUEUE}
