"""Users of the API with exactly the rights that a test gives them."""

from collections.abc import Sequence
from typing import Any

from api_client import Api, Body
from waiting import eventually

Rule = dict[str, Any]
_RBAC = "rbac.authorization.k8s.io"


def grant(api: Api, user: str, rules: Sequence[Rule], namespaces: Sequence[str] | None = None) -> None:
    """From now on `user` may do what `rules` say and nothing else, everywhere or in `namespaces` only."""
    where: Sequence[str | None] = namespaces or [None]
    for namespace in where:
        kind, plural = ("Role", "roles") if namespace else ("ClusterRole", "clusterroles")
        api.apply(plural, namespace, _object(kind, user, rules=list(rules)))
        api.apply(
            plural.removesuffix("s") + "bindings",
            namespace,
            _object(
                f"{kind}Binding",
                user,
                subjects=[{"kind": "User", "name": user, "apiGroup": _RBAC}],
                roleRef={"apiGroup": _RBAC, "kind": kind, "name": user},
            ),
        )
        if rules:
            # All of them: the last may be one that the user had before.
            eventually(lambda: all(_may(api, user, rule, namespace) for rule in rules))  # noqa: B023


def _object(kind: str, name: str, **content: object) -> Body:
    return {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": {"name": name}, **content}


def _may(api: Api, user: str, rule: Rule, namespace: str | None) -> bool:
    """Whether the API server's authorizer knows the rule by now; it learns of roles by a watch."""
    spec: Body = {"user": user}
    if urls := rule.get("nonResourceURLs"):
        spec["nonResourceAttributes"] = {"path": urls[0].replace("*", "x"), "verb": _one(rule["verbs"])}
    else:
        resource, _, subresource = _one(rule["resources"]).partition("/")
        spec["resourceAttributes"] = {
            "namespace": namespace or "",
            "verb": _one(rule["verbs"]),
            "group": _one(rule["apiGroups"]),
            "resource": resource,
            "subresource": subresource,
            "name": (rule.get("resourceNames") or [""])[0],
        }
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    return bool(api.create("subjectaccessreviews", None, review)["status"]["allowed"])


def _one(choices: Sequence[str]) -> str:
    return "x" if choices[0] == "*" else choices[0]
