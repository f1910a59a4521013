"""The good FineTuneJobs that mutants are made from: with little, with all that is built, with every field."""

from typing import Any

Json = dict[str, Any]


def jobs() -> dict[str, tuple[Json, int]]:
    """By name, with how often it is taken: `small`, `built` (all that is built) and `full` (every field)."""
    return {"small": (_job(_small()), 1), "built": (_job(_built()), 5), "full": (_job(_full()), 2)}


def with_status() -> Json:
    """A job half-way, with every field of the status."""
    return _job(_small()) | {"status": _status()}


def _job(spec: Json) -> Json:
    return {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {
            "name": "mutant",
            "labels": {"team": "vision"},
            "annotations": {"example.com/why": "odd"},
        },
        "spec": spec,
    }


def _small() -> Json:
    return {
        "model": {"backbone": "MobileNetV2"},
        "data": {"train": "s3://bucket/flowers"},
        "output": {"uri": "s3://models/team-a"},
    }


def _built() -> Json:
    return {
        "workers": 1,
        "model": {
            "backbone": "MobileNetV2",
            "weights": "imagenet",
            "imageSize": 96,
            "task": "Multiclass",
            "head": {"pooling": "Average", "hidden": [], "dropout": 0.1},
            "alpha": 1.0,
        },
        "data": {
            "train": "s3://bucket/flowers/train",
            "validation": {"split": 0.1},
            "format": "ImageFolder",
            "augmentation": {"preset": "Light", "views": 4},
            "classWeights": "None",
            "maxCorruptFraction": 0.01,
            "maxPixels": 50_000_000,
        },
        "globalBatchSize": 64,
        "precision": "Auto",
        "seed": 42,
        "deterministic": False,
        "xla": False,
        "stages": _stages(),
        "featureCache": {"mode": "Auto", "maxBytes": "1Gi"},
        "checkpoint": {"interval": "60s", "keep": 2, "retain": False},
        "output": {"uri": "s3://models/team-a", "select": "Best", "formats": [{"kind": "SavedModel"}]},
        "storage": {
            "secretName": "s3-credentials",
            "endpoint": "http://minio:9000",
            "region": "eu-central-1",
        },
        "image": "registry.example.com/team/trainer:1.2",
        "env": [{"name": "NCCL_DEBUG", "value": "INFO"}],
        "resources": {"limits": {"cpu": "100m", "memory": "256Mi"}},
        "placement": {
            "nodeSelector": {},
            "tolerations": [
                {"key": "example.com/spot", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}
            ],
            "spreadHosts": False,
        },
        "scheduling": {"gang": "None"},
        "suspend": False,
        "startDeadlineSeconds": 1800,
        "progressDeadlineSeconds": 600,
        "maxRestarts": 5,
        "deadNodeTimeoutSeconds": 120,
    }


def _stages() -> list[Json]:
    return [
        {"name": "head", "unfreeze": {"blocks": 0}, "epochs": 5, "optimizer": {"name": "LBFGS"}},
        {
            "name": "finetune",
            "unfreeze": {"blocks": 2},
            "epochs": 10,
            "learningRate": 0.0001,
            "optimizer": {"name": "SGD", "momentum": 0.9, "weightDecay": 0.0, "clipNorm": 1.0},
            "lrSchedule": {"kind": "Cosine", "warmupEpochs": 1},
            "loss": {"labelSmoothing": 0.1},
            "batchNorm": "Frozen",
            "earlyStopping": {"metric": "val_accuracy", "patience": 3, "minDelta": 0.0},
            "stopWhen": {"metric": "val_accuracy", "above": 0.98},
        },
    ]


def _full() -> Json:
    spec = _built()
    spec["model"] |= {"weights": "s3://bucket/a.weights.h5", "weightsSha256": "0" * 64}
    spec["data"] |= {
        "validation": {"uri": "validation"},
        "test": "test",
        "train": "train",
        "volumeClaimName": "images",
    }
    spec["data"]["augmentation"]["transforms"] = [{"name": "Flip", "amount": 0.5}, {"name": "Zoom"}]
    spec["stages"][1] |= {"layerDecay": 0.9, "ema": {"decay": 0.99}}
    spec["stages"][1]["loss"]["focalGamma"] = 2
    spec["checkpoint"]["warmStartFrom"] = "gs://bucket/other"
    spec["output"] |= {
        "volumeClaimName": "models",
        "uri": "out",
        "formats": [
            {"kind": "TFLite", "quantization": "Int8"},
            {"kind": "Features", "layer": "block_12_add"},
        ],
        "keepVersions": 5,
        "maxAccuracyDrop": 0.01,
        "report": {"images": False},
    }
    spec["storage"]["caConfigMap"] = "minio-ca"
    spec["serviceAccountName"] = "trainer"
    spec["resources"]["limits"]["nvidia.com/gpu"] = 1
    spec["placement"] |= {"nodeSelector": {"example.com/gpu": "l4"}, "pack": "topology.kubernetes.io/zone"}
    spec["placement"]["tolerations"].append(
        {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}
    )
    spec["scheduling"] = {
        "gang": "Kueue",
        "queueName": "team-a",
        "queuePriorityClass": "high",
        "priorityClassName": "batch",
    }
    return spec | {
        "managedBy": "finetune.dev/finetune-operator",
        "activeDeadlineSeconds": 3600,
        "ttlSecondsAfterFinished": 60,
    }


def _status() -> Json:
    best = {"name": "val_accuracy", "value": "0.9431", "stage": "finetune", "epoch": 3}
    time = "2026-11-22T15:04:05Z"
    return {
        "observedGeneration": 1,
        "phase": "Running",
        "summary": {
            "stage": "2/2 finetune",
            "epoch": "4/10",
            "progress": "61%",
            "eta": "14m",
            "workers": "4/4",
        },
        "startTime": time,
        "completionTime": time,
        "trainerImage": "registry.example.com/team/trainer@sha256:" + "0" * 64,
        "jobUID": "1",
        "runID": "2",
        "progress": {
            "percent": 61,
            "step": 1904,
            "steps": 3120,
            "etaSeconds": 838,
            "examplesPerSecond": "412.7",
        },
        "stages": [{"name": "head", "state": "Complete", "lr": "1e-05", "best": best}, {"name": "finetune"}],
        "metrics": [{"name": "loss", "value": "0.2347"}],
        "bestMetric": best,
        "workers": {"desired": 4, "ready": 4, "restarts": 0},
        "checkpoint": {"uri": "s3://models/.run", "step": 1870, "time": time},
        "accounting": {"gpuSeconds": 8934, "goodput": "0.91"},
        "artifacts": {"modelURI": "s3://models/1", "version": 1, "sha256": "0" * 64, "sizeBytes": 17301504},
        "lastFailure": {"reason": "OutOfMemory", "worker": 1, "exitCode": 137, "message": "a", "time": time},
        "warnings": ["spec.schedule: spec.stages wins"],
        "conditions": [
            {"type": "Finished", "status": "False", "reason": "Running", "lastTransitionTime": time},
            {"type": "Training", "lastTransitionTime": time, "observedGeneration": 1},
        ],
    }
