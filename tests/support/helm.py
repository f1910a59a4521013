"""The chart as Helm renders and installs it."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from built_tools import ROOT, built

Body = dict[str, Any]
Values = Mapping[str, Any]

CHART = ROOT / "charts/finetune-operator"
PRESETS = {path.stem.removesuffix("-values"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))}
"""Files of values by name."""
RELEASE, NAMESPACE = "finetune-operator", "finetune-system"
KUBERNETES = "1.31"
"""The oldest that the chart is for."""


class Refused(Exception):  # noqa: N818  (as in finetune_api.errors: named after what happened)
    """Helm's complaint."""


@dataclass(frozen=True)
class Rendered:
    """The objects of a release."""

    objects: list[Body]

    def all(self, kind: str) -> list[Body]:
        """Of this kind."""
        return [one for one in self.objects if one["kind"] == kind]

    def one(self, kind: str) -> Body:
        """The only one of its kind."""
        found = self.all(kind)
        assert len(found) == 1, [one["metadata"]["name"] for one in found]
        return found[0]

    @property
    def settings(self) -> Body:
        """The operator's file. Read as the operator does, it is one ConfigMap with config.yaml."""
        (found,) = [one for one in self.all("ConfigMap") if "config.yaml" in one["data"]]
        content: Body = yaml.safe_load(found["data"]["config.yaml"])
        return content


def render(
    values: Values | Path | None = None, *flags: str, release: str = RELEASE, chart: Path = CHART
) -> Rendered:
    """`helm template`. Raises Refused."""
    text = template(values, *flags, release=release, chart=chart)
    return Rendered([one for one in yaml.safe_load_all(text) if one])


def template(
    values: Values | Path | None = None, *flags: str, release: str = RELEASE, chart: Path = CHART
) -> str:
    """The same as text, hooks included."""
    version = f"--kube-version={KUBERNETES}"
    return run(["template", release, str(chart), f"--namespace={NAMESPACE}", version, *flags], values)


def run(arguments: list[str], values: Values | Path | None = None, kubeconfig: Path | None = None) -> str:
    """What Helm prints on success, warnings first; otherwise raises Refused. `values` by file or as they are."""
    command = [f"{built('helm')}/helm", *arguments]
    content = None
    if isinstance(values, Path):
        command += [f"--values={values}"]
    elif values is not None:
        command, content = [*command, "--values=-"], json.dumps(values)
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "HOME": home, "HELM_CACHE_HOME": home, "HELM_CONFIG_HOME": home}
        env |= {"HELM_DATA_HOME": home, "KUBECONFIG": str(kubeconfig or Path(home) / "none")}
        done = subprocess.run(command, input=content, env=env, capture_output=True, text=True)
    if done.returncode:
        raise Refused(done.stderr + done.stdout)
    return done.stderr + done.stdout


def pod_specs(rendered: Rendered) -> list[Body]:
    """Of everything that makes pods."""
    pods = [one["spec"] for one in rendered.all("Pod")]
    return [*pods, *(one["spec"]["template"]["spec"] for one in rendered.all("Deployment"))]
