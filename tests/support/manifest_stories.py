"""Jobs whose manifests are kept as golden files; run as a program it writes tests/operator/golden/."""

import json
from pathlib import Path
from typing import Any

import yaml

import jobs
from finetune_api.contract import Env
from finetune_api.v1alpha1 import FineTuneJob
from finetune_operator.manifests import children
from finetune_operator.settings import Settings

FOLDER = Path(__file__).parents[1] / "operator" / "golden"
UID = "0a1b2c3d-0000-4000-8000-000000000001"
NAMESPACE = "team-a"
DIGEST = "sha256:" + "0123456789abcdef" * 4
MINIMAL: dict[str, Any] = {
    "data": {"train": "s3://images/flowers"},
    "output": {"uri": "s3://models/team-a"},
}
FULL: dict[str, Any] = MINIMAL | {
    "workers": 4,
    "featureCache": {"maxBytes": "40Gi"},
    "storage": {"secretName": "s3-credentials", "endpoint": "https://minio.storage", "caConfigMap": "our-ca"},
    "image": f"registry.example/finetune-trainer@{DIGEST}",
    "env": [{"name": "NCCL_DEBUG", "value": "INFO"}, {"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "serviceAccountName": "trainer",
    "resources": {"limits": {"cpu": 8, "memory": "32Gi", "nvidia.com/gpu": 2}},
    "placement": {
        "nodeSelector": {"cloud.google.com/gke-accelerator": "nvidia-l4"},
        "tolerations": [{"key": "batch", "operator": "Exists", "effect": "NoSchedule"}],
        "pack": "topology.kubernetes.io/zone",
        "spreadHosts": True,
    },
    "scheduling": {"priorityClassName": "batch"},
    "activeDeadlineSeconds": 3600,
    "ttlSecondsAfterFinished": 60,
    "maxRestarts": 2,
}
SETTINGS: dict[str, Any] = {
    "podNamespace": "finetune-system",
    "trainer": {
        "imagePullSecrets": ["registry"],
        "runtimeClassNames": {"gpu": "nvidia"},
        "labels": {"example.com/cost-centre": "vision"},
    },
    "networkPolicy": {"egressCidrs": ["10.0.0.0/8", "169.254.0.0/16"]},
    "workloadIdentity": {"provider": "GCP"},
}
"""Of the full job; the others take what an operator in finetune-system does by itself."""
GANGS: dict[str, dict[str, Any]] = {
    "kueue": {"gang": "Kueue", "queueName": "team-a", "queuePriorityClass": "prod"},
    "volcano": {"gang": "Volcano", "queueName": "team-a"},
    "coscheduling": {"gang": "Coscheduling"},
    "pod-group": {"gang": "PodGroup", "priorityClassName": "batch"},
}
STORIES = ["minimal", "full", *GANGS]


def manifests(story: str) -> dict[str, dict[str, Any]]:
    """The objects of a story by kind, as the API server gets them."""
    settings = SETTINGS if story == "full" else {"podNamespace": "finetune-system"}
    made = children(job_of(story), UID, NAMESPACE, Settings.model_validate(settings))
    found: dict[str, dict[str, Any]] = json.loads(json.dumps(made))
    return found


def job_of(story: str) -> FineTuneJob:
    """The job that a story is about."""
    if story in GANGS:
        return jobs.job(MINIMAL | {"workers": 4, "scheduling": GANGS[story]})
    return jobs.job(FULL if story == "full" else MINIMAL)


def written(story: str) -> str:
    """The golden file; of a gang only what differs between gangs. The token differs between processes."""
    found = manifests(story)
    for entry in found["Job"]["spec"]["template"]["spec"]["containers"][0]["env"]:
        if entry["name"] == Env.TOKEN:
            entry["value"] = "(random)"
    kinds = ["PodGroup", "Job"] if story in GANGS else list(found)
    return yaml.dump_all([found[kind] for kind in kinds if kind in found], Dumper=_Dumper, sort_keys=False)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)

if __name__ == "__main__":
    for each in STORIES:
        (FOLDER / f"{each}.yaml").write_text(written(each))
