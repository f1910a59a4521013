"""The objects of a FineTuneJob: golden files, and what must hold for any job."""

import hashlib
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

import jobs
import manifest_stories
from finetune_api import yaml_loader
from finetune_api.contract import CONTAINER, Annotation, Env, ExitCode
from finetune_api.v1alpha1.units import parse_quantity
from finetune_operator.manifests import children
from finetune_operator.settings import Settings
from finetune_supervisor import settings as supervisor
from manifest_stories import MINIMAL, NAMESPACE, UID

DEFAULTS = Settings(pod_namespace="finetune-system")
Manifest = dict[str, Any]


def made(changes: dict[str, Any] | None = None, **setup: Any) -> dict[str, Manifest]:
    """The objects of a small job with some changes, by an operator that is set up with `setup`."""
    given = Settings.model_validate({"podNamespace": "finetune-system"} | setup)
    return children(jobs.job(MINIMAL | (changes or {})), UID, NAMESPACE, given)


def pod(found: dict[str, Manifest]) -> Manifest:
    spec: Manifest = found["Job"]["spec"]["template"]["spec"]
    return spec


def container(found: dict[str, Manifest]) -> Manifest:
    (only,) = pod(found)["containers"]
    only_one: Manifest = only
    return only_one


def environment(found: dict[str, Manifest]) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container(found)["env"]}


@pytest.mark.parametrize("story", manifest_stories.STORIES)
def test_manifests_are_the_golden_ones(story: str) -> None:
    """Meant to change? `PYTHONPATH=operator:tests/support python tests/support/manifest_stories.py`."""
    assert manifest_stories.written(story) == (manifest_stories.FOLDER / f"{story}.yaml").read_text()


def test_equal_jobs_get_equal_objects_in_the_order_to_create_them() -> None:
    job = jobs.job(MINIMAL)
    once, again = (children(job, UID, NAMESPACE, DEFAULTS) for _ in range(2))
    assert once == again
    assert list(once) == ["Service", "ConfigMap", "NetworkPolicy", "Job"]
    with_group = made({"scheduling": {"gang": "Coscheduling"}})
    assert list(with_group) == ["Service", "ConfigMap", "NetworkPolicy", "PodGroup", "Job"]


def test_every_object_goes_with_its_job() -> None:
    for manifest in made({"scheduling": {"gang": "PodGroup"}}).values():
        (owner,) = manifest["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("FineTuneJob", UID, True)
        assert manifest["metadata"]["namespace"] == NAMESPACE


def test_job_json_is_the_job_as_written() -> None:
    written = {"workers": 2, "seed": 7, "storage": {"secretName": "s3"}}
    config = made(written)["ConfigMap"]
    file = json.loads(config["data"]["job.json"])
    assert (file["runId"], file["namespace"], file["contractVersion"]) == (UID, NAMESPACE, 1)
    assert yaml_loader.parse_job(file["job"], "job.json").spec == jobs.job(MINIMAL | written).spec
    digest = hashlib.sha256(config["data"]["job.json"].encode()).hexdigest()
    assert config["metadata"]["annotations"][Annotation.DIGEST] == digest
    assert made(written)["Job"]["spec"]["template"]["metadata"]["annotations"][Annotation.DIGEST] == digest


@pytest.mark.parametrize(
    "change", [{"suspend": True}, {"activeDeadlineSeconds": 60}, {"ttlSecondsAfterFinished": 5}]
)
def test_what_may_change_later_is_not_in_job_json(change: dict[str, Any]) -> None:
    assert made(change)["ConfigMap"] == made()["ConfigMap"]


def test_the_job_reacts_to_every_exit_code_as_the_contract_says() -> None:
    first, *rules = made()["Job"]["spec"]["podFailurePolicy"]["rules"]
    assert first["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    reactions = {code: rule["action"] for rule in rules for code in rule["onExitCodes"]["values"]}
    assert {rule["onExitCodes"]["containerName"] for rule in rules} == {CONTAINER}
    expected = dict.fromkeys((64, 65, 66, 69, 77, 78), "FailJob") | dict.fromkeys((75, 143), "Ignore")
    assert reactions == expected
    assert {ExitCode.INTERNAL, ExitCode.KILLED}.isdisjoint(reactions)


def test_the_job_controller_is_left_to_replace_and_never_to_clean_up() -> None:
    spec = made({"workers": 4, "maxRestarts": 3})["Job"]["spec"]
    assert (spec["completions"], spec["parallelism"], spec["backoffLimitPerIndex"]) == (4, 4, 3)
    assert (spec["maxFailedIndexes"], spec["podReplacementPolicy"]) == (0, "Failed")
    assert "ttlSecondsAfterFinished" not in spec
    assert "activeDeadlineSeconds" not in spec


LIMITS = some.fixed_dictionaries(
    {},
    optional={
        "cpu": some.sampled_from(["500m", "1", "7.5", "64"]),
        "memory": some.sampled_from(["1Gi", "1.5Gi", "64G", "123456789"]),
        "ephemeral-storage": some.sampled_from(["10Gi", "1Ti"]),
        "nvidia.com/gpu": some.sampled_from(["1", "8"]),
    },
)


@settings(max_examples=60)
@given(
    workers=some.sampled_from([1, 2, 3, 64, 1000]),
    limits=LIMITS,
    cache=some.sampled_from(["1", "1000", "20Gi", "1.5T"]),
    mode=some.sampled_from(["Auto", "Enabled", "Disabled"]),
    keras_home=some.sampled_from([None, "/opt/keras"]),
)
def test_sizes_add_up(
    workers: int, limits: dict[str, str], cache: str, mode: str, keras_home: str | None
) -> None:
    changes = {
        "workers": workers,
        "globalBatchSize": workers,
        "featureCache": {"mode": mode, "maxBytes": cache},
        "resources": {"limits": limits},
    }
    found = made(changes, trainer={"kerasHome": keras_home})
    amounts = container(found)["resources"]
    empty = {volume["name"]: volume["emptyDir"] for volume in pod(found)["volumes"] if "emptyDir" in volume}
    sizes = {name: parse_quantity(where["sizeLimit"]) for name, where in empty.items()}
    in_memory = {name for name, where in empty.items() if where.get("medium") == "Memory"}
    requested = parse_quantity(amounts["requests"]["ephemeral-storage"])
    assert (
        amounts["requests"] | {"ephemeral-storage": amounts["limits"]["ephemeral-storage"]}
        == amounts["limits"]
    )
    assert in_memory == {"shared-memory"}
    asked = parse_quantity(limits.get("memory", "4Gi"))
    assert parse_quantity(amounts["limits"]["memory"]) == asked + sizes["shared-memory"]
    on_disk = sum(size for name, size in sizes.items() if name not in in_memory)
    disk = parse_quantity(amounts["limits"]["ephemeral-storage"])
    assert disk == (
        parse_quantity(limits["ephemeral-storage"]) if "ephemeral-storage" in limits else on_disk + (1 << 30)
    )
    assert requested == (disk if "ephemeral-storage" in limits else 4 << 30)
    assert ("features" in sizes) == (mode != "Disabled")
    assert workers * sizes.get("features", parse_quantity(cache)) >= parse_quantity(cache)
    assert int(environment(found)[Env.THREADS]) >= 1


@pytest.mark.parametrize(
    ("job", "setup", "request_", "limit"),
    [
        pytest.param({}, {}, "4Gi", 36, id="a little of what the volumes may hold"),
        pytest.param({"ephemeral-storage": "50Gi"}, {}, "50Gi", 50, id="all that the job asks for"),
        pytest.param({}, {"ephemeralStorage": "9Gi"}, "9Gi", 9, id="all that the operator gives"),
        pytest.param({}, {"ephemeralStorageRequest": "20Gi"}, "20Gi", 36, id="what the operator says"),
        pytest.param({}, {"ephemeralStorageRequest": "1Ti"}, None, 36, id="never more than the limit"),
    ],
)
def test_a_node_is_asked_for_some_of_its_disk(
    job: dict[str, str], setup: dict[str, str], request_: str | None, limit: int
) -> None:
    found = made({"resources": {"limits": job}}, trainer={"resources": setup})
    amounts = container(found)["resources"]
    assert round(parse_quantity(amounts["limits"]["ephemeral-storage"]) / 2**30) == limit
    wanted = request_ or amounts["limits"]["ephemeral-storage"]
    assert amounts["requests"]["ephemeral-storage"] == wanted


@pytest.mark.parametrize("story", manifest_stories.STORIES)
def test_what_can_be_written_is_an_own_volume_and_the_rest_is_read_only(story: str) -> None:
    found = manifest_stories.manifests(story)
    volumes = {volume["name"]: volume for volume in pod(found)["volumes"]}
    mounts = container(found)["volumeMounts"]
    assert [mount["name"] for mount in mounts] == list(volumes)
    assert container(found)["securityContext"]["readOnlyRootFilesystem"]
    for mount in mounts:
        assert mount.get("readOnly", False) == ("emptyDir" not in volumes[mount["name"]])
        assert "subPath" not in mount
    variables = environment(found)
    paths = {mount["mountPath"] for mount in mounts if not mount.get("readOnly")}
    assert {variables["HOME"], variables["KERAS_HOME"], variables[Env.SCRATCH], "/tmp", "/dev/shm"} <= paths


def test_claims_are_mounted_where_paths_can_point_to() -> None:
    """Jobs that use them are still refused (`not_built`): the trainer does not look there."""
    claims = {"data": {"train": "flowers", "volumeClaimName": "images"}}
    found = made(claims | {"output": {"uri": "models", "volumeClaimName": "results"}})
    mounts = {mount["mountPath"]: mount for mount in container(found)["volumeMounts"]}
    assert (mounts["/data"]["readOnly"], mounts["/output"]["readOnly"]) == (True, False)
    names = [
        v["persistentVolumeClaim"]["claimName"] for v in pod(found)["volumes"] if "persistentVolumeClaim" in v
    ]
    assert names == ["images", "results"]


def test_credentials_come_as_a_folder_that_may_be_empty_at_first() -> None:
    found = made({"storage": {"secretName": "s3", "caConfigMap": "our-ca"}})
    (volume,) = [volume for volume in pod(found)["volumes"] if volume["name"] == "credentials"]
    secret, authority = volume["projected"]["sources"]
    assert secret == {"secret": {"name": "s3", "optional": True}}
    assert authority["configMap"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]
    variables = environment(found)
    assert (variables[Env.SECRET], variables[Env.CA]) == ("s3", "our-ca")
    assert Env.CREDENTIALS not in environment(made())


def test_the_secret_itself_is_in_no_variable() -> None:
    secret = re.compile("secret|password|key", re.IGNORECASE)
    named = [name for name in environment(made({"storage": {"secretName": "s3"}})) if secret.search(name)]
    assert named == [Env.SECRET]


@pytest.mark.parametrize(
    ("limits", "image", "runtime"),
    [
        ({}, "cpu:1", None),
        ({"cpu": "4"}, "cpu:1", None),
        ({"nvidia.com/gpu": "0"}, "cpu:1", None),
        ({"nvidia.com/gpu": "1"}, "gpu:1", "nvidia"),
        ({"nvidia.com/mig-1g.5gb": "1"}, "gpu:1", "nvidia"),
    ],
)
def test_the_image_follows_the_device(limits: dict[str, str], image: str, runtime: str | None) -> None:
    trainer = {"images": {"cpu": "cpu:1", "gpu": "gpu:1"}, "runtimeClassNames": {"gpu": "nvidia"}}
    found = made({"resources": {"limits": limits}}, trainer=trainer)
    assert container(found)["image"] == image
    assert pod(found).get("runtimeClassName") == runtime
    tolerated = {toleration["key"] for toleration in pod(found)["tolerations"]}
    assert ("nvidia.com/gpu" in tolerated) == (runtime is not None)


def test_a_jobs_own_image_is_used_as_it_stands() -> None:
    image = f"registry.example/t@{manifest_stories.DIGEST}"
    assert container(made({"image": image}))["image"] == image


def test_a_dead_node_is_left_after_30_seconds_unless_the_job_says_otherwise() -> None:
    node = "node.kubernetes.io/unreachable"
    patient = {"key": node, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3000}
    found = made({"placement": {"tolerations": [patient]}})
    seconds = [t["tolerationSeconds"] for t in pod(found)["tolerations"] if t["key"] == node]
    assert seconds == [3000]
    usual = {t["key"]: t["tolerationSeconds"] for t in pod(made())["tolerations"]}
    assert usual == {node: 30, "node.kubernetes.io/not-ready": 30}


def test_the_jobs_variables_come_before_the_operators_and_the_contract_before_both() -> None:
    env = {"NCCL_DEBUG": "WARN", "KERAS_HOME": "/elsewhere", "TF_CPP_MIN_LOG_LEVEL": "1"}
    variables = environment(made({"env": [{"name": "NCCL_DEBUG", "value": "INFO"}]}, trainer={"env": env}))
    assert (variables["NCCL_DEBUG"], variables["TF_CPP_MIN_LOG_LEVEL"]) == ("INFO", "1")
    assert variables["KERAS_HOME"] == "/var/lib/keras"
    assert "NO_PROXY" not in variables


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_workers_do_not_look_for_one_another_behind_a_proxy(name: str) -> None:
    env = [{"name": name, "value": "http://proxy"}, {"name": "NO_PROXY", "value": "intranet"}]
    variables = environment(made({"env": env}))
    assert variables["NO_PROXY"] == variables["no_proxy"] == "intranet,ft-flowers,.cluster.local"


@pytest.mark.parametrize("name", ["flowers", "x" * 63])
def test_a_supervisor_finds_its_gang_where_the_objects_are(name: str) -> None:
    document = jobs.document(MINIMAL | {"workers": 4}) | {"metadata": {"name": name}}
    found = children(yaml_loader.parse_job(document, "job"), UID, NAMESPACE, DEFAULTS)
    variables = {key: value for key, value in environment(found).items() if value}
    settings = supervisor.Settings.read(variables | {Env.INDEX: "3"})
    where = supervisor.places(settings, name, 4)
    service, job = found["Service"]["metadata"]["name"], found["Job"]["metadata"]["name"]
    assert pod(found)["subdomain"] == service
    assert [str(address) for address in where.tensorflow] == [f"{job}-{i}.{service}:2222" for i in range(4)]
    assert str(where.rendezvous) == f"{job}-0.{service}:2223"
    assert {where.rendezvous.port, where.tensorflow[0].port, settings.http.port} == {
        port["containerPort"] for port in container(found)["ports"]
    }
    assert str(settings.termination) == container(found)["terminationMessagePath"]


def test_azure_needs_a_label_to_give_a_pod_its_identity() -> None:
    found = made(workloadIdentity={"provider": "Azure"})
    assert found["Job"]["spec"]["template"]["metadata"]["labels"]["azure.workload.identity/use"] == "true"
