"""Each rule beside the ten faults: what it refuses, and what it lets pass."""

from __future__ import annotations

from fractions import Fraction

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from llm_eval.manifests import pods
from llm_eval.manifests.quantities import InvalidQuantity, amount
from tests.kubernetes.manifests.pods import good, laid_over

BASE = "spec.containers[0]"


def found(change: str) -> dict[str, str]:
    return {mistake.field: mistake.problem for mistake in pods.mistakes(laid_over(good(), yaml.safe_load(change)))}


def of_pod(change: str) -> dict[str, str]:
    return found(f"spec: {{{change}}}")


def of_container(change: str) -> dict[str, str]:
    return of_pod(f"containers: [{{{change}}}]")


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("500m", "1/2"),
        ("24Gi", "25769803776"),
        ("1E3", "1000"),
        ("1E", "1e18"),
        ("2.5G", "2500000000"),
        (3, "3"),
        ("-1", "-1"),
    ],
)
def test_quantities_are_exact(written, number):
    assert amount(written) == Fraction(number)


@pytest.mark.parametrize("written", ["1Gb", "1 Gi", "", "Gi", "1gi", "1,5", True, None, [1], "٣"])
def test_what_is_no_quantity_is_named_with_what_is_allowed(written):
    with pytest.raises(InvalidQuantity, match=r"is no quantity\. Allowed: a number"):
        amount(written)


@given(st.decimals(0, 10**6, places=3), st.sampled_from(["", "k", "Mi", "Gi"]))
def test_a_quantity_is_its_number_times_its_suffix(number, suffix):
    assert amount(f"{number}{suffix}") == amount(str(number)) * amount(f"1{suffix}")


@pytest.mark.parametrize(
    ("resources", "field", "problem"),
    [
        ("requests: {nvidia.com/gpu: 2}", "requests[nvidia.com/gpu]", "not the same as the limit"),
        ("requests: {memory: 25Gi}", "requests[memory]", "more than the limit"),
        ("limits: {memory: 24}, requests: {memory: null}", "limits[memory]", "Is a suffix missing"),
        ("requests: {cpu: -1}", "requests[cpu]", "less than nothing"),
        ("requests: {cpu: two}", "requests[cpu]", "is no quantity"),
        ("requests: {hugepages-2Mi: 4Mi}", "requests[hugepages-2Mi]", "must be a limit"),
        ("limits: {Nvidia.com/gpu: 1}", "limits[Nvidia.com/gpu]", "is no resource"),
    ],
)
def test_resources(resources, field, problem):
    assert problem in of_container(f"resources: {{{resources}}}")[f"{BASE}.resources.{field}"]


def test_a_device_may_be_a_limit_alone_and_other_vendors_are_welcome():
    assert of_container("resources: {requests: {nvidia.com/gpu: null}}") == {}
    assert of_container("resources: {limits: {amd.com/gpu: 2, ephemeral-storage: 10Gi, hugepages-2Mi: 4Mi}}") == {}


@pytest.mark.parametrize(
    ("change", "field", "problem"),
    [
        ("volumeMounts: [{mountPath: models}]", "volumeMounts[0].mountPath", "no absolute path"),
        ("volumeMounts: [{mountPath: /tmp}]", "volumeMounts[1].mountPath", "mounted twice"),
        ("volumeMounts: [{subPath: ../x}]", "volumeMounts[0].subPath", "inside the volume"),
        ("resources: {limits: {memory: 2Gi}, requests: {memory: 2Gi}}", "volumeMounts[0]", "may hold 2Gi"),
        ("volumeMounts: [{}, {}, {name: temporary, mountPath: /models}]", None, "no container mounts 'weights'"),
    ],
)
def test_mounts(change, field, problem):
    assert problem in of_container(change)[f"{BASE}.{field}" if field else "spec.volumes[2]"]


@pytest.mark.parametrize(
    ("volume", "field", "problem"),
    [
        ("{configMap: {name: x}}", "spec.volumes[0]", "Here: configMap, emptyDir"),
        ("{emptyDir: null}", "spec.volumes[0]", "Here: none"),
        ("{emptyDir: {medium: Ram}}", "spec.volumes[0].emptyDir.medium", "Allowed: Memory"),
        ("{emptyDir: {sizeLimit: null}}", f"{BASE}.volumeMounts[0]", "any amount"),
        ("{}, {name: shared-memory}", "spec.volumes[1].name", "already"),
        (
            "{}, {emptyDir: null, hostPath: {path: /srv}}",
            f"{BASE}.volumeMounts[1].readOnly",
            "may read and never write",
        ),
    ],
)
def test_volumes(volume, field, problem):
    assert problem in of_pod(f"volumes: [{volume}]")[field]


def test_a_folder_of_the_node_may_be_read():
    assert of_pod("volumes: [{}, {}, {persistentVolumeClaim: null, hostPath: {path: /srv/models}}]") == {}


@pytest.mark.parametrize(
    ("toleration", "field", "problem"),
    [
        ("effect: NoSchedul", "effect", "Allowed: NoSchedule"),
        ("value: x", "value", "Exists looks at no value"),
        ("operator: Equal, key: null", "key", "absent"),
        ("tolerationSeconds: 60", "tolerationSeconds", "only the effect NoExecute"),
    ],
)
def test_tolerations(toleration, field, problem):
    assert problem in of_pod(f"tolerations: [{{{toleration}}}]")[f"spec.tolerations[0].{field}"]


@pytest.mark.parametrize("policy", ["Always", "OnFailure", "null"])
def test_kubernetes_never_starts_a_failed_stage_again(policy):
    assert "behind Airflow's back" in of_pod(f"restartPolicy: {policy}")["spec.restartPolicy"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ("metadata: {name: LLM_eval}", "metadata.name"),
        (f"metadata: {{name: {'x' * 64}}}", "metadata.name"),
        ("metadata: {namespace: evals.nightly}", "metadata.namespace"),
        ("metadata: {labels: {team: a b}}", "metadata.labels[team]"),
        ("metadata: {labels: {-x: y}}", "metadata.labels[-x]"),
        ("metadata: {annotations: {a/b/c: y}}", "metadata.annotations[a/b/c]"),
        ("spec: {serviceAccountName: Stage}", "spec.serviceAccountName"),
        ("spec: {imagePullSecrets: [{name: a_b}]}", "spec.imagePullSecrets[0].name"),
        ("spec: {nodeSelector: {gpu: NVIDIA H100}}", "spec.nodeSelector[gpu]"),
        ("spec: {containers: [{name: Base}]}", f"{BASE}.name"),
        ("spec: {containers: [{name: null}]}", f"{BASE}.name"),
        ("spec: {containers: [{env: [{name: 2FAST}]}]}", f"{BASE}.env[0].name"),
        ("spec: {containers: [{env: [{name: OPENAI_API_KEY, value: null}]}]}", f"{BASE}.env[1].name"),
    ],
)
def test_names(change, field):
    assert list(found(change)) == [field]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ("automountServiceAccountToken: null", "spec.automountServiceAccountToken"),
        ("hostNetwork: true", "spec.hostNetwork"),
        ("securityContext: {runAsNonRoot: null}", f"{BASE}.securityContext.runAsNonRoot"),
        ("securityContext: {runAsUser: 0}", f"{BASE}.securityContext.runAsUser"),
        ("securityContext: {seccompProfile: {type: Unconfined}}", f"{BASE}.securityContext.seccompProfile.type"),
        ("containers: [{securityContext: {privileged: true}}]", f"{BASE}.securityContext.privileged"),
        (
            "containers: [{securityContext: {allowPrivilegeEscalation: null}}]",
            f"{BASE}.securityContext.allowPrivilegeEscalation",
        ),
        (
            "containers: [{securityContext: {capabilities: {add: [SYS_ADMIN]}}}]",
            f"{BASE}.securityContext.capabilities.add",
        ),
        ("containers: [{securityContext: {runAsNonRoot: false}}]", f"{BASE}.securityContext.runAsNonRoot"),
        (
            "containers: [{securityContext: {readOnlyRootFilesystem: false}}]",
            f"{BASE}.securityContext.readOnlyRootFilesystem",
        ),
        ("containers: [{volumeMounts: [{}, {readOnly: true}]}]", f"{BASE}.volumeMounts"),
    ],
)
def test_security(change, field):
    assert list(of_pod(change)) == [field]


def test_a_container_that_runs_before_the_stage_is_held_to_the_same():
    fields = of_pod("initContainers: [{name: fetch, image: i, resources: {limits: {cpu: x}}}]")

    assert "spec.initContainers[0].securityContext.allowPrivilegeEscalation" in fields
    assert "spec.initContainers[0].resources.limits[cpu]" in fields


@pytest.mark.parametrize(
    "variable",
    ["{name: HF_TOKEN, value: hf_very-secret}", "{name: STORE, value: 'https://me:very-secret@store.example/b'}"],
)
def test_a_secret_that_is_written_out_is_found_and_not_repeated(variable):
    fields = of_container(f"env: [{variable}]")

    assert "looks like a secret" in fields[f"{BASE}.env[0]"]
    assert "very-secret" not in str(fields)


@pytest.mark.parametrize(
    "variable",
    [
        "{name: HF_TOKEN, value: ''}",
        "{name: TOKENIZERS_PARALLELISM, value: 'false'}",
        "{name: AWS_ENDPOINT_URL, value: 'https://store.example:9000'}",
        "{name: GOOGLE_APPLICATION_CREDENTIALS, value: /var/run/key.json}",
        "{name: HF_TOKEN, value: null, valueFrom: {secretKeyRef: {name: hub, key: token}}}",
    ],
)
def test_what_only_sounds_like_a_secret_passes(variable):
    assert of_container(f"env: [{variable}]") == {}


@pytest.mark.parametrize("source", ["value: x", "valueFrom: {fieldRef: {fieldPath: metadata.name}}"])
def test_a_variable_has_one_source(source):
    assert of_container(f"env: [{{}}, {{{source}}}]")


@pytest.mark.parametrize(
    ("change", "field", "problem"),
    [
        ("spec: {nodeSelectr: {}}", "spec.nodeSelectr", "Did you mean 'nodeSelector'?"),
        ("sepc: {}", "sepc", "Did you mean 'spec'?"),
        ("spec: {activeDeadlineSeconds: 1h}", "spec.activeDeadlineSeconds", "text is not a whole number"),
        ("spec: {enableServiceLinks: 'false'}", "spec.enableServiceLinks", "text is not true or false"),
        ("spec: {containers: [{args: infer}]}", f"{BASE}.args", "text is not a list"),
        ("spec: {containers: [{env: [{value: 1}]}]}", f"{BASE}.env[0].value", "1 is not text (quote it)"),
    ],
)
def test_fields_and_types(change, field, problem):
    assert problem in found(change)[field]


@pytest.mark.parametrize(
    ("change", "field", "problem"),
    [
        ("envFrom: [{secretRef: {name: Keys}}]", "envFrom[0].secretRef.name", "is no name"),
        ("envFrom: [{secretRef: {}}]", "envFrom[0].secretRef.name", "absent"),
        ("envFrom: [{}]", "envFrom[0]", "Here: none"),
        ("envFrom: [{secretRef: {name: a}, configMapRef: {name: b}}]", "envFrom[0]", "Here: secretRef, configMapRef"),
        ("envFrom: [{prefix: 2, secretRef: {name: a}}]", "envFrom[0].prefix", "begins no name"),
        ("env: [{}, {valueFrom: {secretKeyRef: {key: a b}}}]", "env[1].valueFrom.secretKeyRef.key", "is no key"),
        ("imagePullPolicy: Sometimes", "imagePullPolicy", "Allowed: Always, IfNotPresent, Never"),
        ("terminationMessagePolicy: Log", "terminationMessagePolicy", "Allowed: File, FallbackToLogsOnError"),
        ("image: null", "image", "Name an image"),
        ("securityContext: {runAsGroup: -1}", "securityContext.runAsGroup", "not between 0 and"),
    ],
)
def test_references_and_how_it_is_run(change, field, problem):
    assert problem in of_container(change)[f"{BASE}.{field}"]


def test_a_deadline_of_no_seconds_is_none():
    assert "not between 1 and" in of_pod("activeDeadlineSeconds: 0")["spec.activeDeadlineSeconds"]
