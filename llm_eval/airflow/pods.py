"""A stage as a Kubernetes pod: the same command as on a worker, in the image that the model's YAML names.

Importing this file costs 1.6 s, so only the DAG of a model with `run_on: kubernetes` does. What the pod looks like is
`pod_manifest`'s business, and how its end is read `pod_endings`'. Here is who watches it: Airflow's operator for pods,
which finds the pod of a try whose worker was lost and goes on with it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk.exceptions import AirflowException
from kubernetes.client import models as k8s  # noqa: TID253 - this is the leaf that owns it
from kubernetes.client.exceptions import ApiException  # noqa: TID253
from kubernetes.config import ConfigException  # noqa: TID253
from urllib3.exceptions import HTTPError

from llm_eval.airflow.failures import failure, in_airflow_words
from llm_eval.airflow.operators import StageName
from llm_eval.airflow.pod_endings import PodEnd, PodEvent, Sight, is_at_work, pod_end, refusal, succeeded
from llm_eval.airflow.pod_settings import PodSettings
from llm_eval.child import stage_arguments
from llm_eval.errors import BAD_INPUT, FAILED, MAY_PASS, REFUSED, InputError
from llm_eval.manifests import templates
from llm_eval.manifests.stage_pods import CONTAINER, LABELS, pod_environment, pod_manifest, sees
from llm_eval.settings import Settings
from llm_eval.specs import Resources

logger = logging.getLogger(__name__)

MEMORY_KEY = "llm_eval_out_of_memory"
"""In Airflow's store of a task's state, which its tries share: a try before this one ran out of memory."""
POLL_SECONDS = 5.0
SPARE = timedelta(minutes=10)
"""The pod's own deadline comes first; Airflow's is for a node that went away with its kubelet and never says so."""
MEMORY_HINT = (
    "for the second time, now with half as many tokens at once. Raise resources.memory_gib in the model's YAML, or "
    "lower backend.batch_tokens and backend.cache_gib"
)


class StagePodOperator(KubernetesPodOperator):  # type: ignore[misc]
    """Runs one stage, or one shard of it, in a pod."""

    custom_operator_name = StageName()
    template_fields = (*KubernetesPodOperator.template_fields, "run_uri", "shard")

    def __init__(
        self, *, stage: str, run_uri: Any, needs: Mapping[str, Any], shard: Any, judge: str = "", **keywords: Any
    ) -> None:
        """`needs`: the model's `resources`, as plain values, because Airflow stores them with the DAG."""
        site = PodSettings.from_environment(os.environ)
        self._needs = Resources.model_validate(needs)
        hours = timedelta(hours=self._needs.max_hours, seconds=site.schedule_seconds + site.startup_seconds)
        usual: dict[str, Any] = {
            "name": f"llm-eval-{stage}",
            "labels": LABELS,
            "base_container_name": CONTAINER,
            "do_xcom_push": False,
            "durable": True,
            "deferrable": site.deferrable,
            "poll_interval": POLL_SECONDS,
            "logging_interval": site.log_seconds,
            "schedule_timeout_seconds": site.schedule_seconds,
            "startup_timeout_seconds": site.startup_seconds,
            "execution_timeout": hours + SPARE,
            "container_name_log_prefix_enabled": False,
            "termination_message_policy": None,  # the template's; else it would be overwritten
            "log_events_on_failure": True,
            "log_pod_spec_on_failure": False,  # the whole spec, environment and all, would bury the reason
        }
        super().__init__(**{**usual, **keywords})
        self.stage, self.run_uri, self.shard, self.judge = stage, run_uri, shard, judge
        self._sight: Sight | None = None

    def execute(self, context: Any) -> Any:
        with in_airflow_words():
            self.pod_template_dict = self._manifest(context)
        with self._in_our_words(context):
            return super().execute(context)

    def trigger_reentry(self, context: Any, event: dict[str, Any]) -> Any:
        with self._in_our_words(context):
            try:
                return super().trigger_reentry(context, event)
            except AirflowException:
                if self._sight is None:  # it was gone before `cleanup` could look at it
                    there_was = k8s.V1ObjectMeta(name=event["name"], namespace=event["namespace"])
                    self._sight = self._look(k8s.V1Pod(metadata=there_was))
                raise

    def get_or_create_pod(self, pod_request_obj: Any, context: Any) -> Any:
        """One that finished while nobody watched has done its work: what it found is under the root."""
        found = self._get_pod_from_task_state_store(context)
        if found is not None and succeeded(Sight(found)):
            return found
        return super().get_or_create_pod(pod_request_obj, context)

    def cleanup(self, pod: Any, remote_pod: Any, xcom_result: Any = None, context: Any = None) -> None:
        """As Kubernetes' operator does, on what the pod looks like now; but a pod that is well is left to its work when
        only the watching of it failed. The next try finds it again."""
        if self._killed or not remote_pod:
            super().cleanup(pod, remote_pod, xcom_result, context)
            return
        trouble = sys.exc_info()[1]
        watching_failed = isinstance(trouble, ApiException | HTTPError)
        self._sight = self._look(remote_pod)
        if self._sight is None and trouble is None:
            self._sight = Sight(remote_pod)  # how it ended is known: it must not pass for a success unseen
        if self._sight is None or (watching_failed and is_at_work(self._sight)):
            logger.warning("Kubernetes does not answer; pod %s is left to its work", remote_pod.metadata.name)
            return
        if self._sight.pod is None:
            raise AirflowException("the pod is gone")  # nothing to clean up; the reason is told by `_end`
        super().cleanup(pod, self._sight.pod, xcom_result, context)

    def _manifest(self, context: Any) -> dict[str, Any]:
        """Raises InputError for a template that is none, and for a root that a pod would not see."""
        root = Settings.from_environment(os.environ).root
        site = PodSettings.from_environment(os.environ)
        was_short = bool(context["task_state_store"].get(MEMORY_KEY))
        arguments = stage_arguments(self.stage, self.run_uri, self.shard, self.judge)
        environment = pod_environment(root, os.environ, was_short)
        pod = pod_manifest(templates.usable(site.template), self._needs, arguments, environment)
        if "://" not in root and not sees(pod, root):
            raise InputError(
                f"the root is a folder of this machine, {root!r}, which a pod cannot see. Set LLM_EVAL_ROOT to an "
                f"object store, or mount the folder at the same place in the pod template ({site.template})."
            )
        return pod

    def _look(self, pod: Any) -> Sight | None:
        """The pod as it is now; None if Kubernetes cannot be asked."""
        try:
            now = self.pod_manager.read_pod(pod)
        except ApiException as error:
            if error.status != 404:
                return None
            now = None
        except HTTPError:
            return None
        try:
            events = self.pod_manager.read_pod_events(pod).items
        except (ApiException, HTTPError) as error:
            logger.warning("the pod's events cannot be read: %s", error)
            events = []
        return Sight(now, [PodEvent(e.type == "Warning", e.reason or "", e.message or "") for e in events])

    @contextmanager
    def _in_our_words(self, context: Any) -> Iterator[None]:
        """Turns whatever ends the watching into the reason of the pod's end. Raises what `failure` says."""
        try:
            yield
            if self._killed:  # Airflow's operator then looks no further, and would pass for done
                raise AirflowException("the task was ended from outside, and its pod was deleted")
        except ConfigException as error:
            told = f"no Kubernetes to ask: {error}. Set the connection kubernetes_default, or KUBECONFIG for a file."
            raise failure(BAD_INPUT, told) from None
        except (AirflowException, ApiException, HTTPError) as error:
            if self._sight is not None and succeeded(self._sight):
                return  # the watching failed, not the work
            raise self._failure(self._end(error), context) from None  # the reason is all that a reader needs

    def _end(self, error: Exception) -> PodEnd:
        sight = self._sight
        if isinstance(error, ApiException | HTTPError) and (sight is None or is_at_work(sight)):
            return refusal(error)
        told = str(error.__context__ or error)  # Airflow's operator raises its last word over the first one
        if sight is None or is_at_work(sight):
            # Of a pod that began just as it was given up, the trigger has told only in words.
            return PodEnd(MAY_PASS if "took too long" in told else FAILED, told)
        return pod_end(sight, CONTAINER, told)

    def _failure(self, end: PodEnd, context: Any) -> AirflowException:
        if not end.is_out_of_memory:
            return failure(end.exit_code, end.reason)
        tries = context["task_state_store"]
        if tries.get(MEMORY_KEY):
            tries.delete(MEMORY_KEY)  # whoever clears the task has mended it, and begins anew
            return failure(REFUSED, f"{end.reason}, {MEMORY_HINT}")
        tries.set(MEMORY_KEY, True)
        return failure(MAY_PASS, f"{end.reason}; the next try reads half as many tokens at once")


class JudgePodOperator(StagePodOperator):
    """Asks one judge, or one shard of what it is asked, in a pod."""

    custom_operator_name = "Judge"
