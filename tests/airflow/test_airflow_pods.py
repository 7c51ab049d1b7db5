"""The operator of pods, up to the point where Kubernetes is asked. tests/kubernetes has the rest."""

import pytest
import yaml
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from kubernetes.client import ApiClient
from kubernetes.client import models as k8s

from llm_eval.airflow.failures import MayPass
from llm_eval.airflow.pod_endings import PodEnd
from llm_eval.airflow.pods import JudgePodOperator, StagePodOperator
from llm_eval.specs import Resources
from tests.kubernetes.emulator.kubeconfig import of_no_cluster

NEEDS = Resources(gpus=2, memory_gib=24, cpus=3.5, image="registry/llm-eval:1", node_selector={"gpu": "a100"})
RUN = "s3://bucket/evals/runs/m/d/r"


class Context(dict):
    """A task's, with a store that its tries share."""

    def __init__(self, store=None):
        super().__init__(task_state_store=Store({} if store is None else store))


class Store:
    def __init__(self, values):
        self.values = values

    def get(self, key):
        return self.values.get(key)

    def set(self, key, value):
        self.values[key] = value

    def delete(self, key):
        self.values.pop(key, None)


@pytest.fixture
def operator(tmp_path, monkeypatch):
    def make(needs=NEEDS, kind=StagePodOperator, environment=None, **keywords):
        for name, value in {"LLM_EVAL_ROOT": "s3://bucket/evals", **(environment or {})}.items():
            monkeypatch.setenv(name, value)
        return kind(
            task_id="infer",
            **{"stage": "infer", "run_uri": RUN, "shard": "1/4", "needs": needs.model_dump(mode="json"), **keywords},
            kubernetes_conn_id=None,
            config_file=of_no_cluster(tmp_path),
        )

    return make


@pytest.fixture
def pod(operator, monkeypatch):
    """The pod that the operator would ask for, as Kubernetes would get it."""

    def make(needs=NEEDS, environment=None, store=None, **keywords):
        made = operator(needs, environment=environment, **keywords)
        monkeypatch.setattr(StagePodOperator.__bases__[0], "execute", lambda self, _: self.build_pod_request_obj())
        return ApiClient().sanitize_for_serialization(made.execute(Context(store)))

    return make


def test_what_the_operator_asks_for_is_the_manifest_and_a_name(pod):
    made = pod()
    (base,) = made["spec"]["containers"]

    assert made["metadata"]["name"].startswith("llm-eval-infer-")
    assert made["metadata"]["labels"]["app.kubernetes.io/name"] == "llm-eval"
    assert (base["image"], base["args"]) == ("registry/llm-eval:1", ["infer", RUN, "--shard", "1/4"])
    assert base["resources"]["limits"] == {"nvidia.com/gpu": "2", "memory": "24576Mi"}
    assert base["securityContext"]["readOnlyRootFilesystem"] is True
    assert base["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert made["spec"]["securityContext"]["runAsUser"] == 1000
    assert made["spec"]["automountServiceAccountToken"] is False
    assert made["spec"]["activeDeadlineSeconds"] == 24 * 3600
    assert made["spec"]["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def test_a_judges_pod_asks_its_judge(pod):
    (base,) = pod(kind=JudgePodOperator, stage="judge", judge="strict", shard="0/1")["spec"]["containers"]

    assert base["args"] == ["judge", RUN, "--judge", "strict"]


def test_no_secret_of_the_worker_reaches_the_pod(pod):
    secret = {"OPENAI_API_KEY": "sk-hidden", "AWS_SECRET_ACCESS_KEY": "hidden", "AIRFLOW__CORE__FERNET_KEY": "hidden"}

    assert "hidden" not in str(pod(environment=secret))


def test_a_site_adds_its_own_to_every_pod_by_a_template(pod, tmp_path):
    template = tmp_path / "pod.yaml"
    reference = {"secretRef": {"name": "bucket-key"}}
    template.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"namespace": "evals", "labels": {"team": "a"}},
                "spec": {"serviceAccountName": "evals", "containers": [{"name": "base", "envFrom": [reference]}]},
            }
        )
    )

    made = pod(environment={"LLM_EVAL_POD_TEMPLATE": str(template)})
    (base,) = made["spec"]["containers"]

    assert (made["metadata"]["namespace"], made["spec"]["serviceAccountName"]) == ("evals", "evals")
    assert made["metadata"]["labels"]["team"] == "a"
    assert base["envFrom"] == [reference]
    assert "securityContext" not in base  # the site's template is the whole of it


def test_after_a_try_that_ran_out_of_memory_the_pod_takes_half(pod):
    (base,) = pod(store={"llm_eval_out_of_memory": True})["spec"]["containers"]

    assert {"name": "LLM_EVAL_MEMORY_SHARE", "value": "0.5"} in base["env"]


def test_a_root_that_a_pod_cannot_see_fails_at_once(operator):
    with pytest.raises(AirflowFailException, match="object store"):
        operator(environment={"LLM_EVAL_ROOT": "/var/lib/llm-eval"}).execute(Context())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("kind: Deployment", "a template is one Pod of v1"),
        ("{apiVersion: v1, kind: Pod, spec: {containers: [{name: main}]}}", "the first has to be called 'base'"),
    ],
)
def test_a_broken_template_fails_at_once(operator, tmp_path, text, reason):
    (tmp_path / "pod.yaml").write_text(text)

    with pytest.raises(AirflowFailException, match=reason):
        operator(environment={"LLM_EVAL_POD_TEMPLATE": str(tmp_path / "pod.yaml")}).execute(Context())


def test_memory_that_was_not_enough_is_tried_once_more(operator):
    context, end = Context(), PodEnd(1, "out of memory", is_out_of_memory=True)

    first = operator()._failure(end, context)
    second = operator()._failure(end, context)

    assert isinstance(first, MayPass)
    assert "half as many tokens" in str(first)
    assert isinstance(second, AirflowFailException)
    assert "resources.memory_gib" in str(second)
    assert isinstance(operator()._failure(end, context), MayPass)  # a cleared task begins anew


def test_a_pod_that_failed_fails_its_task_also_when_it_cannot_be_looked_at_again(operator, monkeypatch):
    made = operator()
    failed = k8s.V1Pod(metadata=k8s.V1ObjectMeta(name="p", namespace="n"), status=k8s.V1PodStatus(phase="Failed"))
    monkeypatch.setattr(made, "_look", lambda _: None)
    for name in ("is_istio_enabled", "process_pod_deletion", "patch_already_checked", "_read_pod_events"):
        monkeypatch.setattr(made, name, lambda *_, **__: None)
    monkeypatch.setattr(made, "_read_pod_container_states", lambda *_, **__: None)

    with pytest.raises(AirflowException, match="returned a failure"):
        made.cleanup(failed, failed)


def test_a_task_that_was_ended_from_outside_has_not_succeeded_whatever_its_watcher_saw(operator, monkeypatch):
    made = operator()
    monkeypatch.setattr(StagePodOperator.__bases__[0], "execute", lambda self, _: self.on_kill())

    with pytest.raises(AirflowException, match="ended from outside"):
        made.execute(Context())


@pytest.mark.parametrize(("exit_code", "kind"), [(1, AirflowException), (2, AirflowFailException), (75, MayPass)])
def test_the_end_of_a_pod_decides_whether_it_is_tried_again(operator, exit_code, kind):
    raised = operator()._failure(PodEnd(exit_code, "why"), Context())

    assert type(raised) is kind
    assert str(raised) == "why"


def test_the_usual_way_is_to_wait_in_the_triggerer_and_to_find_a_lost_tries_pod_again(operator):
    made = operator()

    assert (made.deferrable, made.durable, made.logging_interval) == (True, True, 30)
    assert (made.schedule_timeout_seconds, made.startup_timeout_seconds) == (1800, 1800)
    assert made.execution_timeout.total_seconds() == 24 * 3600 + 3600 + 600
    assert (made.log_pod_spec_on_failure, made.log_events_on_failure, made.do_xcom_push) == (False, True, False)
