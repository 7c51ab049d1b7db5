"""Kubernetes' control plane from its own programs: etcd, API server (with RBAC), controller manager and scheduler."""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from llm_eval.airflow.stack import free_port
from tests.kubernetes.real.daemons import Daemons
from tests.kubernetes.real.programs import Programs

START_SECONDS = 120.0
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Access:
    """Where an API server is and how an administrator speaks to it."""

    url: str
    authority: Path
    token: str

    def kubeconfig(self) -> str:
        """The administrator's, as text."""
        authority = base64.b64encode(self.authority.read_bytes()).decode()
        return kubeconfig({"server": self.url, "certificate-authority-data": authority}, self.token, "default")

    def client(self) -> httpx.Client:
        """Speaks to the API server as its administrator."""
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.token}"},
            verify=ssl.create_default_context(cafile=str(self.authority)),
            timeout=30.0,
            trust_env=False,
        )

    def is_ready(self) -> bool:
        try:
            with self.client() as client:
                return client.get("/readyz").status_code == 200
        except (httpx.HTTPError, OSError):  # OSError: its certificate is not written yet
            return False


def kubeconfig(cluster: Mapping[str, Any], token: str, namespace: str) -> str:
    """The text of a kubeconfig. `cluster`: where the server is and how it is known."""
    context = {"cluster": "real", "user": "user", "namespace": namespace}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "real", "cluster": dict(cluster)}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "real", "context": context}],
            "current-context": "real",
        }
    )


@dataclass(frozen=True)
class Keys:
    """Files that the servers know each other by."""

    service_accounts: Path
    kubelet_client: Path
    kubelet_client_key: Path

    @classmethod
    def make(cls, folder: Path) -> Keys:
        keys = cls(folder / "service-accounts.key", folder / "kubelet-client.crt", folder / "kubelet-client.key")
        _openssl("genrsa", "-out", str(keys.service_accounts), "2048")
        # Its own authority: the kubelet takes commands from whoever shows this certificate, and from nobody else.
        _openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/O=system:masters/CN=apiserver"),
            *("-keyout", str(keys.kubelet_client_key), "-out", str(keys.kubelet_client)),
        )
        return keys


def start_control_plane(
    programs: Programs,
    folder: Path,
    daemons: Daemons,
    address: str = LOOPBACK,
    inside: Callable[[Sequence[str]], list[str]] = list,
) -> tuple[Access, Keys]:
    """Start it and wait until it is ready. `inside` makes a command one that runs where `address` is."""
    certificates = folder / "certificates"
    certificates.mkdir()
    token, port, etcd = secrets.token_hex(16), free_port(None), f"http://{LOOPBACK}:{free_port(None)}"
    access = Access(f"https://{address}:{port}", certificates / "apiserver.crt", token)
    keys = Keys.make(certificates)
    tokens, kubeconfig = folder / "tokens.csv", folder / "admin.kubeconfig"
    for secret in (tokens, kubeconfig):
        secret.touch(mode=0o600)
    tokens.write_text(f'{token},admin,admin,"system:masters"\n')
    peers = f"http://{LOOPBACK}:{free_port(None)}"
    listening = [f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}", f"--listen-peer-urls={peers}"]
    first = [f"--initial-advertise-peer-urls={peers}", f"--initial-cluster=default={peers}"]
    daemons.start(
        "etcd",
        inside([programs.program("etcd"), f"--data-dir={folder / 'etcd'}", *listening, *first, "--unsafe-no-fsync"]),
    )
    daemons.start(
        "apiserver",
        inside(
            [
                programs.server("kube-apiserver"),
                f"--etcd-servers={etcd}",
                f"--bind-address={address}",
                f"--advertise-address={address}",
                f"--secure-port={port}",
                f"--cert-dir={certificates}",
                f"--token-auth-file={tokens}",
                "--authorization-mode=RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-signing-key-file={keys.service_accounts}",
                f"--service-account-key-file={keys.service_accounts}",
                "--service-cluster-ip-range=10.96.0.0/24",
                "--endpoint-reconciler-type=none",
                f"--kubelet-client-certificate={keys.kubelet_client}",
                f"--kubelet-client-key={keys.kubelet_client_key}",
                "--kubelet-preferred-address-types=InternalIP",
            ]
        ),
    )
    daemons.wait("apiserver", access.is_ready, START_SECONDS)
    kubeconfig.write_text(access.kubeconfig())
    known = [f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--port=0", f"--bind-address={LOOPBACK}"]
    manager = [programs.server("kube-controller-manager"), *known, f"--secure-port={free_port(None)}"]
    daemons.start("manager", inside([*manager, f"--service-account-private-key-file={keys.service_accounts}"]))
    scheduler = [programs.server("kube-scheduler"), *known, f"--secure-port={free_port(None)}"]
    daemons.start("scheduler", inside(scheduler))
    daemons.wait("manager", lambda: _default_account_exists(access), START_SECONDS)
    return access, keys


def dry_run(access: Access, pod: dict[str, object], namespace: str = "default") -> str | None:
    """What the API server has against this pod; None if it would take it. Nothing is created."""
    with access.client() as client:
        answer = client.post(f"/api/v1/namespaces/{namespace}/pods", params={"dryRun": "All"}, content=json.dumps(pod))
    return None if answer.is_success else str(answer.json()["message"])


def _default_account_exists(access: Access) -> bool:
    """Without it no pod is admitted; the controller manager makes it, and it is the last to come."""
    with access.client() as client:
        answer = client.get("/api/v1/namespaces/default/serviceaccounts/default")
    return answer.is_success and bool(answer.json().get("secrets"))


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
