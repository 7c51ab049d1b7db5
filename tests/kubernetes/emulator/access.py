"""Who may do what: service accounts with a token each, and the Roles that are bound to them."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tests.kubernetes.emulator.errors import ApiError

ADMINISTRATOR = "administrator"


class Action(NamedTuple):
    """`resource` with its subresource: "pods/log". `namespace` is None for what belongs to the whole cluster."""

    verb: str
    resource: str
    namespace: str | None


class Account(NamedTuple):
    namespace: str
    name: str


class Access:
    """Made of manifests as a site writes them: ServiceAccounts, Roles and RoleBindings; others are passed over."""

    def __init__(self, manifests: Iterable[Mapping[str, Any]]) -> None:
        documents = list(manifests)
        self._roles = {_account(d): d["rules"] for d in documents if d["kind"] == "Role"}
        self._bindings = [d for d in documents if d["kind"] == "RoleBinding"]
        self.accounts = [_account(d) for d in documents if d["kind"] == "ServiceAccount"]
        self.tokens = {account.name: secrets.token_hex(16) for account in self.accounts}
        self.administrators_token = secrets.token_hex(16)

    def renew(self, account: str) -> str:
        """Its new token. The old one is worth nothing from now on, as when it expires."""
        self.tokens[account] = secrets.token_hex(16)
        return self.tokens[account]

    def check(self, header: str, action: Action) -> str:
        """The user's name. Raises ApiError 401 for an unknown token, 403 for what its roles do not allow."""
        token = header.removeprefix("Bearer ")
        if token == self.administrators_token:
            return ADMINISTRATOR
        account = next((a for a in self.accounts if self.tokens[a.name] == token), None)
        if account is None:
            raise ApiError(401, "Unauthorized")
        user = f"system:serviceaccount:{account.namespace}:{account.name}"
        if not any(_allows(rule, action) for rule in self._rules(account, action.namespace)):
            resource = action.resource.partition("/")[0]
            raise ApiError(
                403,
                f'{resource} is forbidden: User "{user}" cannot {action.verb} resource "{action.resource}" '
                f'in API group "" in the namespace "{action.namespace}"',
            )
        return user

    def _rules(self, account: Account, namespace: str | None) -> list[Mapping[str, Any]]:
        return [
            rule
            for binding in self._bindings
            if _namespace(binding) == namespace and any(_is(s, account) for s in binding["subjects"])
            for rule in self._roles[Account(_namespace(binding), binding["roleRef"]["name"])]
        ]


def _account(document: Mapping[str, Any]) -> Account:
    return Account(_namespace(document), document["metadata"]["name"])


def _namespace(document: Mapping[str, Any]) -> str:
    return str(document["metadata"].get("namespace", "default"))


def _is(subject: Mapping[str, str], account: Account) -> bool:
    return subject["kind"] == "ServiceAccount" and (subject["namespace"], subject["name"]) == account


def _allows(rule: Mapping[str, Any], action: Action) -> bool:
    return (
        bool({"", "*"} & set(rule["apiGroups"]))
        and bool({action.resource, "*"} & set(rule["resources"]))
        and bool({action.verb, "*"} & set(rule["verbs"]))
    )
