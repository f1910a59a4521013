"""What somebody tries who may create FineTuneJobs in one namespace and nothing else, and who stops it.

Each is one thing put into a job that is fine without it; `escalation_requests` has those that are no job at all.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

Json = dict[str, Any]


class Guard(Enum):
    """Who refuses when there are no admission policies."""

    FIELD = "the API server: the CRD has no such field"
    RULE = "the API server: a rule of the CRD"
    OPERATOR = "the operator: not on the lists of what the namespace may name"
    TRAINER = "the trainer: after DNS, exit 77"


@dataclass(frozen=True, eq=False)
class Escalation:
    """One try."""

    name: str
    guard: Guard
    spec: Json = field(default_factory=dict)
    """What is put over a good job, by dotted paths below the spec."""
    metadata: Json = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


ROOT = {"runAsUser": 0, "privileged": True}
SECRET = {"secretKeyRef": {"name": "admin", "key": "token"}}
_NO_SUCH_FIELD: Json = {
    "hostPath volume": {"volumes": [{"name": "node", "hostPath": {"path": "/"}}]},
    "hostPath of the images": {"data.hostPath": "/var/lib/kubelet"},
    "docker socket mount": {"volumeMounts": [{"name": "run", "mountPath": "/var/run/docker.sock"}]},
    "host network": {"hostNetwork": True},
    "host PID namespace": {"hostPID": True},
    "host IPC namespace": {"hostIPC": True},
    "host users": {"hostUsers": True},
    "host port": {"ports": [{"containerPort": 2222, "hostPort": 2222}]},
    "privileged pod": {"securityContext": ROOT},
    "privileged container": {"containerSecurityContext": ROOT},
    "added capabilities": {"securityContext.capabilities": {"add": ["SYS_ADMIN"]}},
    "no seccomp": {"securityContext.seccompProfile": {"type": "Unconfined"}},
    "writable root file system": {"readOnlyRootFilesystem": False},
    "raw pod template": {"template": {"spec": {"hostNetwork": True}}},
    "patch of the pod's spec": {"podSpecPatch": "hostNetwork: true"},
    "overrides of pods": {"podTemplateOverrides": [{"spec": {"serviceAccountName": "admin"}}]},
    "another command": {"command": ["sh", "-c", "id"]},
    "more arguments": {"args": ["--zygote", "sh"]},
    "init container": {"initContainers": [{"name": "root", "image": "busybox"}]},
    "sidecar": {"containers": [{"name": "side", "image": "busybox"}]},
    "hook after the start": {"lifecycle": {"postStart": {"exec": {"command": ["id"]}}}},
    "environment from a secret": {"envFrom": [{"secretRef": {"name": "admin"}}]},
    "variable from a secret": {"env": [{"name": "NCCL_DEBUG", "valueFrom": SECRET}]},
    "pods in another namespace": {"namespace": "kube-system"},
    "secret of another namespace": {"storage.secretNamespace": "kube-system"},
    "secret by reference": {"storage.secretRef": {"name": "admin", "namespace": "kube-system"}},
    "credentials in the job": {"storage.credentials": {"provider": "exec"}},
    "token of the Kubernetes API": {"automountServiceAccountToken": True},
    "token volume": {"serviceAccountToken": {"audience": "https://kubernetes.default.svc"}},
    "runtime class": {"runtimeClassName": "unconfined"},
    "another scheduler": {"schedulerName": "mine"},
    "node by name": {"nodeName": "control-plane-1"},
    "node of the placement by name": {"placement.nodeName": "control-plane-1"},
    "affinity to somebody's pods": {"placement.affinity": {"podAffinity": {}}},
    "one process namespace": {"shareProcessNamespace": True},
    "pull secrets": {"imagePullSecrets": [{"name": "admin-registry"}]},
    "labels of the pods": {"podLabels": {"app": "payments"}},
    "annotations of the pods": {"podAnnotations": {"iam.amazonaws.com/role": "admin"}},
    "names of hosts": {"hostAliases": [{"ip": "169.254.169.254", "hostnames": ["minio"]}]},
    "name server": {"dnsConfig": {"nameservers": ["203.0.113.1"]}},
    "code of a layer": {"model.customObjects": {"Evil": "os.system"}},
}
_AGAINST_A_RULE: Json = {
    "preloaded library": {"env": [{"name": "LD_PRELOAD", "value": "/data/evil.so"}]},
    "path of Python": {"env": [{"name": "PYTHONPATH", "value": "/data"}]},
    "start-up file of Python": {"env": [{"name": "PYTHONSTARTUP", "value": "/data/a.py"}]},
    "endpoint by environment": {"env": [{"name": "AWS_ENDPOINT_URL", "value": "http://169.254.169.254"}]},
    "role by environment": {"env": [{"name": "AWS_ROLE_ARN", "value": "arn:aws:iam::1:role/admin"}]},
    "key file by environment": {"env": [{"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": "/etc/x"}]},
    "gang by environment": {"env": [{"name": "TF_CONFIG", "value": "{}"}]},
    "token by environment": {"env": [{"name": "FINETUNE_TOKEN", "value": "mine"}]},
    "opened addresses": {"env": [{"name": "FINETUNE_CLOSED_ADDRESSES", "value": ""}]},
    "two variables in one name": {"env": [{"name": "NCCL_DEBUG\nLD_PRELOAD", "value": "a"}]},
    "two variables in one value": {"env": [{"name": "NCCL_DEBUG", "value": "INFO\nLD_PRELOAD=/data/e.so"}]},
    "images above the bucket": {"data.train": "s3://bucket/../other"},
    "images far above the bucket": {"data.train": "s3://bucket/a/../../../etc"},
    "model above the bucket": {"output.uri": "s3://models/../team-b"},
    "validation above the bucket": {"data.validation": {"uri": "gs://bucket/.."}},
    "test above the bucket": {"data.test": "az://container/a/../../b"},
    "weights above the bucket": {
        "model.weights": "s3://bucket/../other/x.weights.h5",
        "model.weightsSha256": "0" * 64,
    },
    "checkpoint above the bucket": {"checkpoint.warmStartFrom": "s3://bucket/../../other"},
    "checkpoint of the container": {"checkpoint.warmStartFrom": "/etc/finetune/credentials"},
    "images of the container": {"data.train": "/etc/finetune/credentials"},
    "images by file URL": {"data.train": "file:///etc/finetune/credentials"},
    "images above the claim": {"data.volumeClaimName": "images", "data.train": "../../etc"},
    "model above the claim": {"output.volumeClaimName": "models", "output.uri": "a/../../etc"},
    "file URL into the claim": {"data.volumeClaimName": "images", "data.train": "file:///etc"},
    "weights from the web": {
        "model.weights": "http://evil.example/x.weights.h5",
        "model.weightsSha256": "0" * 64,
    },
    "weights nobody has checked": {"model.weights": "s3://bucket/x.weights.h5"},
    "weights with code in them": {
        "model.weights": "s3://bucket/model.keras",
        "model.weightsSha256": "0" * 64,
    },
    "secret by path": {"storage.secretName": "../kube-system/admin"},
    "secret with namespace": {"storage.secretName": "kube-system/admin"},
    "authority by path": {"storage.caConfigMap": "kube-system/extension-apiserver-authentication"},
    "account with namespace": {"serviceAccountName": "system:serviceaccount:kube-system:admin"},
    "claim by path": {"data.volumeClaimName": "../admin"},
    "image with an option": {"image": "--privileged"},
    "image of the node": {"image": "/var/lib/images/evil.tar"},
    "image with a command": {"image": "busybox; sh"},
    "image with a line break": {"image": "busybox\nprivileged: true"},
    "image with a template": {"image": "{{ .Values.secret }}"},
    "endpoint of the container": {"storage.endpoint": "file:///etc/passwd"},
    "endpoint on a socket": {"storage.endpoint": "unix:///var/run/docker.sock"},
    "endpoint with a header": {"storage.endpoint": "http://minio:9000\r\nMetadata-Flavor: Google"},
    "region with a host": {"storage.region": "x.evil.example/#"},
    "priority of the system": {"scheduling.priorityClassName": "system-node-critical"},
    "label by the queue's name": {"scheduling.gang": "Kueue", "scheduling.queueName": "a\nteam: payments"},
    "label by the node's name": {"placement.nodeSelector": {"kubernetes.io/hostname": "a,b"}},
    "key of a node's label": {"placement.nodeSelector": {"a b/c": "d"}},
    "topology by expression": {"placement.pack": "kubernetes.io/hostname in (a)"},
    "metric by the stage's name": {"stages": [{"name": 'a"} 1\nup{b="', "unfreeze": {"blocks": 0}}]},
    "controller by path": {"managedBy": "../../kube-system"},
    "memory of the node": {"resources.limits": {"hugepages-1Gi": "1Gi"}},
    "more workers than there can be": {"workers": 1_000_000, "globalBatchSize": 1_000_000},
}
_ODD_NAMES: Json = {
    "name with a path": {"name": "../../kube-system/flowers"},
    "name with dots": {"name": "flowers.kube-system.svc"},
    "name with a label": {"name": "a\nteam: payments"},
    "name too long for a label": {"name": "a" * 64},
    "label of the job": {"labels": {"team": "a\nb"}},
}
_NOT_LISTED: Json = {
    "somebody's secret": {"storage.secretName": "admin-token"},
    "secret of the registry": {"storage.secretName": "registry"},
    "somebody's service account": {"serviceAccountName": "admin"},
    "the default service account": {"serviceAccountName": "default"},
    "somebody's ConfigMap": {"storage.caConfigMap": "kube-root-ca.crt"},
    "somebody's images": {"data.volumeClaimName": "payments", "data.train": "a"},
    "somebody's volume to write to": {"output.volumeClaimName": "payments", "output.uri": "a"},
    "priority over others": {"scheduling.priorityClassName": "critical"},
    "image of one's own": {"image": "evil/trainer:1"},
    "image that begins like a good one": {"image": "finetune-trainer-evil:1"},
    "image by another digest": {"image": "finetune-trainer@sha256:" + "0" * 64},
}
METADATA = "169.254.169.254"
_ADDRESSES = {
    "metadata address": f"http://{METADATA}",
    "metadata address with a path": f"http://{METADATA}/latest/meta-data/iam/security-credentials",
    "metadata address in decimal": "http://2852039166",
    "metadata address in hex": "http://0xa9fea9fe",
    "metadata address in hex by parts": "http://0xA9.0xFE.0xA9.0xFE",
    "metadata address in octal": "http://0251.0376.0251.0376",
    "metadata address in three parts": "http://169.254.43518",
    "metadata address with a dot": f"http://{METADATA}.",
    "metadata address mapped to IPv6": f"http://[::ffff:{METADATA}]",
    "metadata address mapped in hex": "http://[::ffff:a9fe:a9fe]",
    "metadata address by NAT64": "http://[64:ff9b::a9fe:a9fe]",
    "metadata address by 6to4": "http://[2002:a9fe:a9fe::1]",
    "metadata address of IPv6": "http://[fd00:ec2::254]",
    "metadata address of another cloud": "http://100.100.100.200",
    "credentials of containers": "http://169.254.170.2/v2/credentials",
    "metadata address behind a user": f"http://minio@{METADATA}",
    "metadata address before a user": f"http://{METADATA}\\@minio.storage.svc",
    "metadata address percent-encoded": "http://%31%36%39.254.169.254",
    "metadata address in wide digits": "http://１６９.254.169.254",
    "metadata address by name": "http://metadata.google.internal",
    "metadata address by somebody's name": "http://rebound.evil.example",
    "the kubelet": "http://127.0.0.1:10255",
    "the node by name": "http://localhost:10255",
    "the node by zeros": "http://0.0.0.0:10255",
    "the node in IPv6": "http://[::1]:10255",
    "the node in short": "http://127.1:10255",
}
NAMES = {
    "metadata.google.internal": METADATA,
    "rebound.evil.example": METADATA,
    "localhost": "127.0.0.1",
    "minio.storage.svc": "10.96.4.2",
}
"""What a cluster's DNS, and somebody's, say."""
_PROXIES = {
    "metadata address as proxy": {"env": [{"name": "HTTP_PROXY", "value": f"http://{METADATA}:80"}]},
    "metadata address as small proxy": {"env": [{"name": "https_proxy", "value": "http://2852039166:80"}]},
    "metadata address as any proxy": {"env": [{"name": "ALL_PROXY", "value": f"socks5://{METADATA}:80"}]},
    "metadata name as proxy": {"env": [{"name": "http_proxy", "value": "http://metadata.google.internal"}]},
}


def all_of_them() -> list[Escalation]:
    """Every job of the table."""
    return list(_table())


def _table() -> Iterator[Escalation]:
    yield from (Escalation(name, Guard.FIELD, spec) for name, spec in _NO_SUCH_FIELD.items())
    yield from (Escalation(name, Guard.RULE, spec) for name, spec in _AGAINST_A_RULE.items())
    yield from (Escalation(name, Guard.RULE, metadata=metadata) for name, metadata in _ODD_NAMES.items())
    yield from (Escalation(name, Guard.OPERATOR, spec) for name, spec in _NOT_LISTED.items())
    for name, url in _ADDRESSES.items():
        yield Escalation(name, Guard.TRAINER, {"storage.endpoint": url})
    yield from (Escalation(name, Guard.TRAINER, spec) for name, spec in _PROXIES.items())
