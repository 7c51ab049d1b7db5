from pathlib import Path

import pytest
import yaml

from llm_eval.airflow.pod_settings import PodSettings
from llm_eval.errors import InputError
from llm_eval.manifests import templates
from llm_eval.manifests.stage_pods import mistakes_of_models, pod_environment, pod_manifest, sees
from llm_eval.specs import Resources, Toleration

NEEDS = Resources(gpus=2, memory_gib=24, cpus=3.5, image="registry/llm-eval:1", node_selector={"gpu": "a100"})
ARGUMENTS = ["infer", "s3://bucket/evals/runs/m/d/r", "--shard", "1/4"]
BARE = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "base"}]}}


def made(needs=NEEDS, template=BARE, **environment):
    return pod_manifest(template, needs, ARGUMENTS, environment)


def container(pod):
    (only,) = pod["spec"]["containers"]
    return only


def test_the_pod_runs_the_workers_command_in_the_models_image():
    pod = container(made())

    assert (pod["image"], pod["command"], pod["args"]) == (
        "registry/llm-eval:1",
        ["python", "-m", "llm_eval"],
        ARGUMENTS,
    )


def test_gpus_and_memory_are_limits_equal_to_requests_and_cpus_a_request_alone():
    exact = {"nvidia.com/gpu": "2", "memory": "24576Mi"}

    assert container(made())["resources"] == {"limits": exact, "requests": {**exact, "cpu": "3.5"}}


def test_what_the_model_does_not_say_is_the_templates():
    given = {"limits": {"memory": "8Gi", "cpu": "4"}, "requests": {"memory": "4Gi", "cpu": "1"}}
    template = {**BARE, "spec": {"containers": [{"name": "base", "resources": given}]}}

    assert container(made(Resources(image="i"), template))["resources"] == {
        "limits": {"memory": "8Gi", "cpu": "4"},
        "requests": {"memory": "8Gi", "cpu": "1"},
    }


def test_the_pod_goes_where_model_and_template_say():
    spot = {"key": "spot", "operator": "Exists", "effect": "NoSchedule"}
    own = Toleration(key="team", value="evals")
    spec = {**BARE["spec"], "nodeSelector": {"pool": "big"}, "tolerations": [spot], "priorityClassName": "low"}

    pod = made(NEEDS.model_copy(update={"tolerations": (own,)}), {**BARE, "spec": spec})["spec"]

    assert pod["nodeSelector"] == {"pool": "big", "gpu": "a100"}
    assert pod["tolerations"] == [
        spot,
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "team", "operator": "Equal", "value": "evals"},
    ]
    assert pod["priorityClassName"] == "low"
    assert made(NEEDS.model_copy(update={"priority_class": "high"}))["spec"]["priorityClassName"] == "high"


def test_a_pod_without_gpus_does_not_take_a_gpu_nodes_place():
    pod = made(Resources(image="i"))

    assert pod["spec"]["tolerations"] == []
    assert container(pod)["resources"] == {}


def test_a_pod_ends_with_its_models_time_and_is_never_restarted_by_kubernetes():
    spec = made(Resources(image="i", max_hours=1.5))["spec"]

    assert (spec["activeDeadlineSeconds"], spec["restartPolicy"]) == (5400, "Never")


@pytest.mark.parametrize(
    ("needs", "size"), [({"gpus": 1}, "2048Mi"), ({"gpus": 4}, "8192Mi"), ({"gpus": 4, "memory_gib": 1}, "512Mi")]
)
def test_there_is_room_for_shared_tensors_within_the_pods_memory(needs, size):
    pod = made(Resources(image="i", **needs))

    assert container(pod)["volumeMounts"] == [{"name": "shared-memory", "mountPath": "/dev/shm"}]
    assert pod["spec"]["volumes"] == [{"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": size}}]


def test_a_model_that_needs_more_cpus_than_the_template_allows_gets_them():
    template = {**BARE, "spec": {"containers": [{"name": "base", "resources": {"limits": {"cpu": "500m"}}}]}}

    assert container(made(Resources(image="i", cpus=2), template))["resources"]["limits"] == {"cpu": "2"}


def test_the_pods_of_all_models_are_checked(house):
    house.model(run_on="kubernetes", resources={"image": "i", "tolerations": [{"key": "a b", "operator": "Exists"}]})
    house.model(name="here")

    models = [house.catalog.model(name) for name in ("canned", "here")]
    (mistake,) = mistakes_of_models(templates.read(templates.SHIPPED), models)

    assert mistake.startswith("the pod of model 'canned': spec.tolerations[0].key: ")


def test_a_template_with_shared_memory_of_its_own_keeps_it():
    mounts = [{"name": "shm", "mountPath": "/dev/shm"}]

    pod = made(template={**BARE, "spec": {"containers": [{"name": "base", "volumeMounts": mounts}]}})

    assert container(pod)["volumeMounts"] == mounts
    assert "volumes" not in pod["spec"]


def test_the_templates_variables_stand_by_value_and_by_reference():
    theirs = [
        {"name": "LLM_EVAL_MODELS", "value": "/models"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ]
    template = {**BARE, "spec": {"containers": [{"name": "base", "env": theirs}]}}

    pod = made(template=template, LLM_EVAL_MODELS="/here", LLM_EVAL_ROOT="s3://b")

    assert container(pod)["env"] == [*theirs, {"name": "LLM_EVAL_ROOT", "value": "s3://b"}]


def test_a_pod_is_told_places_and_no_secret():
    here = {"LLM_EVAL_MODELS": "/models", "AWS_ENDPOINT_URL": "http://s3", "AWS_SECRET_ACCESS_KEY": "s", "PATH": "/bin"}

    assert pod_environment("s3://bucket/evals", here, out_of_memory=False) == {
        "LLM_EVAL_ROOT": "s3://bucket/evals",
        "LLM_EVAL_MODELS": "/models",
        "AWS_ENDPOINT_URL": "http://s3",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }


def test_after_a_pod_ran_out_of_memory_the_next_takes_half():
    assert pod_environment("s3://b", {}, out_of_memory=True)["LLM_EVAL_MEMORY_SHARE"] == "0.5"


def test_the_template_itself_is_left_as_it_was():
    before = yaml.safe_dump(BARE)
    made()

    assert yaml.safe_dump(BARE) == before


@pytest.mark.parametrize(
    ("path", "folder", "seen"),
    [
        ("/evals", "/evals", True),
        ("/evals", "/evals/nightly", True),
        ("/evals/", "/evals", True),
        ("/evals", "/evals-of-others", False),
        ("/tmp", "/evals", False),
    ],
)
def test_a_folder_is_seen_where_something_is_mounted_at_or_above_it(path, folder, seen):
    mount = {"name": "v", "mountPath": path}
    pod = {"spec": {"containers": [{"name": "base", "volumeMounts": [mount]}]}}

    assert sees(pod, folder) is seen


def test_the_shipped_template_gives_a_pod_no_right_that_it_does_not_need():
    pod = made(template=templates.read(PodSettings().template))
    spec, base = pod["spec"], container(pod)

    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert base["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert base["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert {mount["mountPath"] for mount in base["volumeMounts"]} == {"/tmp", "/cache", "/dev/shm"}
    assert {"name": "HOME", "value": "/cache"} in base["env"]


def test_a_site_says_in_its_environment_how_pods_are_waited_for():
    said = PodSettings.from_environment(
        {"LLM_EVAL_POD_TEMPLATE": "/site/pod.yaml", "LLM_EVAL_POD_DEFERRABLE": "false", "LLM_EVAL_POD_LOG_SECONDS": "5"}
    )

    assert said == PodSettings(Path("/site/pod.yaml"), deferrable=False, log_seconds=5)
    assert PodSettings.from_environment({"LLM_EVAL_POD_LOG_SECONDS": ""}) == PodSettings()


@pytest.mark.parametrize(("name", "value"), [("DEFERRABLE", "maybe"), ("STARTUP_SECONDS", "0"), ("LOG_SECONDS", "1.5")])
def test_a_value_that_is_none_is_refused_by_its_name(name, value):
    with pytest.raises(InputError, match=f"LLM_EVAL_POD_{name} is '{value}'"):
        PodSettings.from_environment({f"LLM_EVAL_POD_{name}": value})
