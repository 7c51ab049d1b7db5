"""What a real API server refuses, our rules refuse; and nothing that a file can hold breaks them."""

from __future__ import annotations

from llm_eval.manifests import pods
from tests.kubernetes.manifests.oddities import full, oddities, recorded

CLASSES = ("llm-eval",)
# The operator gives the name; what is inside affinities and references to fields is left to the server.
LEFT_TO_THE_SERVER = ("metadata.name", "spec.affinity.", "spec.containers.0.env.2.valueFrom.fieldRef")


def is_left(path: str) -> bool:
    return path == "metadata" or path.startswith(LEFT_TO_THE_SERVER)


def test_nothing_is_odd_about_the_pod_itself():
    assert pods.mistakes(full(), CLASSES) == []


def test_our_rules_refuse_all_that_a_real_server_refused():
    refused = recorded()
    passed = [
        (each.path, each.odd)
        for each in oddities()
        if not pods.mistakes(each.pod, CLASSES) and (each.path, each.odd) in refused and not is_left(each.path)
    ]

    assert len(refused) > 1000
    assert passed == []
