from typing import Any

import pytest
import yaml

import jobs
from finetune_api import messages, yaml_loader
from finetune_api.errors import BadJob

HEAD, TOP = jobs.HEAD, jobs.TOP


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modle": 3}, "spec.modle: unknown field; did you mean model?"),
        ({"globalBatchsize": 3}, "spec.globalBatchsize: unknown field; did you mean globalBatchSize?"),
        ({"imageSize": 96}, "spec.imageSize: unknown field; did you mean spec.model.imageSize?"),
        ({"dropout": 0.5}, "spec.dropout: unknown field; did you mean spec.model.head.dropout?"),
        ({"stages": [HEAD | {"lerningRate": 1}]}, "lerningRate: unknown field; did you mean learningRate?"),
        ({"unfreeze": {}}, "spec.unfreeze: unknown field; did you mean spec.stages[].unfreeze?"),
        ({"storage.zzz": 1}, "unknown field; known are caConfigMap, endpoint, region, secretName"),
        ({"precision": "Float23"},
         'is "Float23", expected one of Auto, Float32, MixedBfloat16, MixedFloat16; did you mean Float32?'),
        ({"schedule": "gradual"}, "did you mean Gradual?"),
        ({"stages": [TOP | {"optimizer": {"name": "adam"}}]}, 'spec.stages[0].optimizer.name: is "adam"'),
        ({"stages": [TOP | {"batchNorm": "frozen"}]}, "did you mean Frozen?"),
        ({"workers": "2"}, 'spec.workers: is "2", expected a whole number'),
        ({"workers": 2.5}, "spec.workers: is 2.5, expected a whole number"),
        ({"workers": True}, "spec.workers: is true, expected a whole number"),
        ({"workers": 0}, "spec.workers: is 0, expected at least 1"),
        ({"deterministic": 1}, "spec.deterministic: is 1, expected true or false"),
        ({"checkpoint.interval": 60}, "spec.checkpoint.interval: is 60, expected text (put it in quotes)"),
        ({"checkpoint.interval": "5x"}, "checkpoint.interval: '5x' is not a time such as 90s, 10m or 1h30m"),
        ({"featureCache.maxBytes": "20GB"}, "spec.featureCache.maxBytes: '20GB' is not an amount"),
        ({"model": None}, "spec.model: is missing"),
        ({"data": {}}, "spec.data.train: is missing"),
        ({"data": "s3://bucket"}, 'spec.data: is "s3://bucket", expected a mapping'),
        ({"stages": []}, "spec.stages: is [], expected 1 or more of them"),
        ({"stages": {"name": "a"}}, "expected a list"),
        ({"stages": [HEAD | {"name": "The head"}]}, "expected lower-case letters, digits and dashes"),
        ({"model.weights": "imagnet"}, "expected imagenet, none, or the URI of a *.weights.h5"),
        ({"model.head": {"dropout": 1}}, "spec.model.head.dropout: is 1, expected less than 1"),
        ({"data.augmentation": {"views": 0}}, "spec.data.augmentation.views: must be a number from 1 to 64"),
        ({"data.augmentation": {"views": True}}, "must be a number from 1 to 64, or PerEpoch"),
        ({"storage.endpoint": "minio:9000"}, "expected a URL that begins with http:// or https://"),
        ({"resources.limits": {"a b": 1}}, 'limits.a b: is "a b", expected a label key'),
        ({"env": [{"name": "LD_PRELOAD"}]}, '"LD_PRELOAD", expected a name like NCCL_*, *_PROXY or TF_CPP_*'),
        ({"data.train": "a\nb"}, "expected text without control characters"),
        ({"storage.secretName": "a..b"}, '"a..b", expected a Kubernetes name'),
        ({"image": "a b"}, 'is "a b", expected a container image such as registry.example.com/team/trainer:1.2'),
        ({"managedBy": "me"}, "expected a controller's name such as kueue.x-k8s.io/multikueue"),
        ({"env": [{"name": "NCCL_DEBUG", "value": "a\x00"}]}, "expected text without control characters"),
        ({"env": [{"name": "NCCL_DEBUG"}] * 2}, "spec.env: two have the name NCCL_DEBUG: remove one"),
        ({"scheduling": {"gang": "Kueue", "queueName": "q" * 64}}, "expected at most 63 characters"),
        ({"resources.limits": {"memory": -1}}, "limits.memory: -1 is not an amount such as 512, 20Gi or 1.5G"),
        ({"resources.limits": {"memory": 2**53}}, "9007199254740992 is not an amount"),
        ({"resources.limits": {"memory": 1.5}}, "1.5 is not an amount"),
        ({"resources.limits": {"x" * 254 + "/a": 1}}, "expected at most 253 characters"),
        ({"resources.limits": {"a/" + "x" * 64: 1}}, "expected a label key"),
        ({"resources.limits": {"gpu": 1}}, "devices with a domain such as nvidia.com/gpu"),
        ({"resources.limits": {"nvidia.com/gpu": "500m"}}, "nvidia.com/gpu are counted in whole numbers"),
        ({"ttlSecondsAfterFinished": 2**40}, "is 1099511627776, expected at most 31536000"),
        ({"data.validation": {"split": 1}}, "spec.data.validation.split: is 1, expected less than 1"),
        ({"model.alpha": 0}, "spec.model.alpha: is 0, expected more than 0"),
        ({"placement": {"tolerations": [{"operator": "Exists", "value": "a"}]}}, "Exists looks at no value"),
        ({"placement": {"tolerations": [{"key": "a", "tolerationSeconds": 1}]}}, "needs effect NoExecute"),
        ({"stages": [HEAD | {"unfreeze": {"all": False}}]}, "can only be true; leave it out"),
    ],
)  # fmt: skip
def test_a_message_says_where_what_and_how(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadJob) as caught:
        jobs.job(changes)
    assert caught.value.reason == "InvalidSpec"
    assert message in str(caught.value)


def test_a_message_names_the_line() -> None:
    text = yaml.safe_dump(jobs.document({"stages": [HEAD, TOP | {"epoch": 3}]}), sort_keys=False)
    line = next(n for n, one in enumerate(text.splitlines(), start=1) if "epoch: 3" in one)
    with pytest.raises(BadJob) as caught:
        yaml_loader.parse_job(yaml_loader.load(text, "job.yaml"), "job.yaml", text)
    assert f"job.yaml line {line}: spec.stages[1].epoch: unknown field; did you mean epochs?" in str(
        caught.value
    )


def test_what_is_missing_is_placed_at_what_it_is_missing_from() -> None:
    text = "apiVersion: finetune.dev/v1alpha1\nkind: FineTuneJob\nmetadata: {name: a}\nspec:\n  model: {}\n"
    with pytest.raises(BadJob) as caught:
        yaml_loader.parse_job(yaml_loader.load(text, "job.yaml"), "job.yaml", text)
    assert "line 5: spec.model.backbone: is missing" in str(caught.value)


def test_every_error_is_in_the_one_message() -> None:
    with pytest.raises(BadJob) as caught:
        jobs.job({"modle": 1, "workers": "x", "seed": -1})
    lines = str(caught.value).splitlines()
    assert lines[0] == "job.yaml has 3 errors:"
    assert len(lines) == 4


def test_a_flood_of_errors_is_cut() -> None:
    with pytest.raises(BadJob) as caught:
        jobs.job({f"unknown{n}": n for n in range(25)})
    assert "and 15 more" in str(caught.value)


def test_a_message_holds_no_command_for_a_terminal() -> None:
    with pytest.raises(BadJob) as caught:
        jobs.job({"\x1b[31mred": 1, "checkpoint.interval": "\x07", "storage.region": "\x9b2J"})
    message = str(caught.value).replace("\n", "")
    assert message.isprintable()
    assert r"spec.\x1b[31mred: unknown field" in message


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"a b": "c"}, "metadata.labels.a b: is"),
        ({"a": "b c"}, "metadata.labels.a: is"),
        ({"x" * 254 + "/a": "b"}, "has more than 253 characters before the /"),
    ],
)
def test_labels_are_those_that_the_api_server_takes(labels: dict[str, str], message: str) -> None:
    good = jobs.document() | {
        "metadata": {"name": "a", "labels": {"x" * 253 + "/" + "y" * 63: "Z_1", "b": ""}}
    }
    assert len(yaml_loader.parse_job(good, "job.yaml").metadata.labels) == 2
    with pytest.raises(BadJob) as caught:
        yaml_loader.parse_job(jobs.document() | {"metadata": {"name": "a", "labels": labels}}, "job.yaml")
    assert message in str(caught.value)


def test_metadata_is_checked_too() -> None:
    bad = jobs.document() | {"metadata": {"nmae": "flowers"}}
    with pytest.raises(BadJob, match=r"metadata\.name: is missing") as caught:
        yaml_loader.parse_job(bad, "job.yaml")
    assert "metadata.nmae: unknown field; did you mean name?" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), "the job"),
        (("spec", "stages", 0, "name"), "spec.stages[0].name"),
        (("spec", "stages", "[]"), "spec.stages[]"),
    ],
)
def test_a_path_is_spelled_as_people_write_it(path: messages.Path, text: str) -> None:
    assert messages.spell(path) == text
