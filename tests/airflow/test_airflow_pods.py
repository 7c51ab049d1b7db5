import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from kubernetes.client import ApiClient
from kubernetes.client import models as k8s

from llm_eval.airflow.pods import StagePodOperator, pod_arguments
from llm_eval.specs import Resources

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""
NEEDS = Resources(gpus=2, memory_gib=24, cpus=3.5, image="registry/llm-eval:1", node_selector={"gpu": "a100"})
RUN = "s3://bucket/evals/runs/m/d/r"


@pytest.fixture
def operator(tmp_path, monkeypatch):
    def make(needs=NEEDS, **environment):
        (tmp_path / "kubeconfig").write_text(KUBECONFIG)
        for name, value in {"LLM_EVAL_ROOT": "s3://bucket/evals", **environment}.items():
            monkeypatch.setenv(name, value)
        return StagePodOperator(
            task_id="infer",
            stage="infer",
            run_uri=RUN,
            shard="1/4",
            needs=needs.model_dump(mode="json"),
            kubernetes_conn_id=None,
            config_file=str(tmp_path / "kubeconfig"),
        )

    return make


@pytest.fixture
def pod(operator, monkeypatch):
    """The pod that the operator would ask for, as Kubernetes would get it."""

    def make(needs=NEEDS, **environment):
        made = operator(needs, **environment)
        monkeypatch.setattr(StagePodOperator.__bases__[0], "execute", lambda self, _: self.build_pod_request_obj())
        return ApiClient().sanitize_for_serialization(made.execute({}))

    return make


def container(pod):
    (only,) = pod["spec"]["containers"]
    return only


def test_the_pod_runs_the_workers_command(pod):
    made = container(pod())

    assert made["image"] == "registry/llm-eval:1"
    assert made["command"] == ["python", "-m", "llm_eval"]
    assert made["args"] == ["infer", RUN, "--shard", "1/4"]


def test_gpus_and_memory_are_limits_equal_to_requests(pod):
    exact = {"nvidia.com/gpu": "2", "memory": "24576Mi"}

    assert container(pod())["resources"] == {"limits": exact, "requests": {**exact, "cpu": "3.5"}}


def test_the_pod_goes_to_the_nodes_that_the_model_names(pod):
    spec = pod()["spec"]

    assert spec["nodeSelector"] == {"gpu": "a100"}
    assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def test_a_pod_without_gpus_does_not_take_a_gpu_nodes_place(pod):
    made = pod(Resources(image="i"))

    assert not made["spec"].get("tolerations")
    assert "resources" not in container(made) or not container(made)["resources"]


def test_the_pod_gets_the_root_and_no_secret(pod):
    made = pod(LLM_EVAL_MODELS="/models", OPENAI_API_KEY="sk-secret", AWS_SECRET_ACCESS_KEY="secret")

    assert {e["name"]: e["value"] for e in container(made)["env"]} == {
        "LLM_EVAL_ROOT": "s3://bucket/evals",
        "LLM_EVAL_MODELS": "/models",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HOME": "/tmp",
    }
    assert "secret" not in str(made)


def test_the_pod_has_no_rights_that_it_does_not_need(pod):
    made = pod()

    assert made["spec"]["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container(made)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert made["spec"]["automountServiceAccountToken"] is False


def test_the_pod_has_room_for_shared_tensors(pod):
    made = pod()

    assert container(made)["volumeMounts"] == [{"mountPath": "/dev/shm", "name": "shared-memory"}]
    assert made["spec"]["volumes"] == [{"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}}]


def test_a_site_adds_its_own_to_every_pod_by_a_template(pod, tmp_path):
    template = tmp_path / "pod.yaml"
    template.write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {namespace: evals}\nspec:\n  serviceAccountName: evals\n"
        "  containers: [{name: base, envFrom: [{secretRef: {name: bucket-key}}]}]\n"
    )

    made = pod(LLM_EVAL_POD_TEMPLATE=str(template))

    assert (made["metadata"]["namespace"], made["spec"]["serviceAccountName"]) == ("evals", "evals")
    assert container(made)["envFrom"] == [{"secretRef": {"name": "bucket-key"}}]
    assert made["spec"]["volumes"][0]["name"] == "shared-memory"


def test_a_root_that_a_pod_cannot_see_fails_at_once(operator):
    with pytest.raises(AirflowFailException, match="object store"):
        operator(LLM_EVAL_ROOT="/var/lib/llm-eval").execute({})


def ended(exit_code, message="", reason="Error"):
    state = k8s.V1ContainerState(
        terminated=k8s.V1ContainerStateTerminated(exit_code=exit_code, message=message, reason=reason)
    )
    status = k8s.V1ContainerStatus(
        name="base", state=state, image="i", image_id="i", ready=False, restart_count=0, started=False
    )
    return k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(name="p", namespace="n"),
        spec=k8s.V1PodSpec(containers=[]),
        status=k8s.V1PodStatus(phase="Failed", container_statuses=[status]),
    )


@pytest.mark.parametrize(
    ("remote", "error", "reason"),
    [
        (ended(2, "loading\nerror: no weights at /models/m\n"), AirflowFailException, "^no weights at /models/m$"),
        (ended(1, "error: the server went away\n"), AirflowException, "^the server went away$"),
        (ended(137, "loading\n", "OOMKilled"), AirflowException, "^OOMKilled: loading$"),
    ],
)
def test_a_pods_exit_code_decides_whether_it_is_tried_again(operator, monkeypatch, remote, error, reason):
    made = operator()
    monkeypatch.setattr(made, "is_istio_enabled", lambda _: False)
    for name in ("process_pod_deletion", "patch_already_checked", "_read_pod_events", "_read_pod_container_states"):
        monkeypatch.setattr(made, name, lambda *_, **__: None)

    with pytest.raises(error, match=reason) as failure:
        made.cleanup(remote, remote)

    assert type(failure.value) is error


def test_pod_arguments_are_made_of_the_resources_alone():
    assert pod_arguments(NEEDS, "s3://r", {}) == pod_arguments(NEEDS, "s3://r", {})
