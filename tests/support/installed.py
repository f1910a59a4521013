"""A release of the chart on a control plane, and the operator as a process with the release's file and rights."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

import api_client
import helm
from api_client import Body
from control_plane import ControlPlane
from finetune_api import crd
from operator_process import Operator, start
from waiting import eventually

api_client.ROOTS["deployments"] = "/apis/apps/v1"
ACCESS = "authorization.k8s.io/v1"
CRD = "finetunejobs.finetune.dev"
QUICK: dict[str, Any] = {"progressIntervalSeconds": 0.2, "timings": {"reportWaitSeconds": 10.0}}
"""Settings for fake trainers: asked more often, and waited for on a busy machine too."""


class Release:
    """One release; its name is the chart's."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.namespace = namespace
        self._plane = plane

    @property
    def user(self) -> str:
        """Who the operator is to the API server."""
        return f"system:serviceaccount:{self.namespace}:{helm.RELEASE}"

    def helm(self, verb: str, *arguments: str, values: helm.Values | None = None) -> str:
        """Helm's words; raises helm.Refused."""
        command = [verb, helm.RELEASE, *arguments, f"--namespace={self.namespace}"]
        return helm.run(command, values, self._plane.kubeconfig)

    def settings(self) -> Body:
        """As in the file that the operator's pod has."""
        found = self._plane.api.get("configmaps", self.namespace, helm.RELEASE)
        content: Body = yaml.safe_load(found["data"]["config.yaml"])
        return content

    def operator(self, more: Mapping[str, Any] | None = None) -> Operator:
        """A process with the file and the service account of the release, and with some settings of its own."""
        kubeconfig, settings = self.kubeconfig(helm.RELEASE), self.settings()
        eventually(lambda: self._has_its_rights(settings))
        place = {"POD_NAMESPACE": self.namespace, "POD_NAME": "operator-of-the-release"}
        return start(kubeconfig, {**settings, **(more or {})}, place)

    def kubeconfig(self, account: str) -> Path:
        """Of a service account, with a token as its pods get it."""
        where = api_client.path("serviceaccounts", self.namespace, account, "token")
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        token = self._plane.api.request("POST", where, request)["status"]["token"]
        config = json.loads(self._plane.kubeconfig.read_text())
        config["users"] = [{"name": "test", "user": {"token": token}}]
        file = self._plane.layout.folder / f"{self.namespace}-{account}.kubeconfig"
        file.write_text(json.dumps(config))
        return file

    def _has_its_rights(self, settings: Body) -> bool:
        """The API server's authorizer learns of roles by a watch; one right of each role will do."""
        places = settings["namespaces"] or [self.namespace]
        return self._may(self.namespace, "coordination.k8s.io", "leases", "create") and all(
            self._may(place, "finetune.dev", "finetunejobs", "list") for place in places
        )

    def _may(self, namespace: str, group: str, resource: str, verb: str) -> bool:
        what = {"namespace": namespace, "group": group, "resource": resource, "verb": verb}
        body = {
            "apiVersion": ACCESS,
            "kind": "SubjectAccessReview",
            "spec": {"user": self.user, "resourceAttributes": what},
        }
        return bool(self._plane.api.create("subjectaccessreviews", None, body)["status"]["allowed"])


def older_chart(folder: Path, field: str) -> Path:
    """The chart as if it were of a version whose FineTuneJobs did not have a field of the spec yet."""
    chart = folder / "older"
    shutil.copytree(helm.CHART, chart)
    file = chart / "Chart.yaml"
    file.write_text(re.sub(r"(?m)^(version|appVersion): .*$", r"\1: 0.0.1", file.read_text()))
    found = crd.crd()
    spec = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    del spec["properties"][field]
    spec["x-kubernetes-validations"] = [
        rule for rule in spec["x-kubernetes-validations"] if f"self.{field} " not in rule["rule"]
    ]
    found["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
    (chart / "templates/crd.yaml").write_text(yaml.safe_dump(found, width=110))
    return chart
