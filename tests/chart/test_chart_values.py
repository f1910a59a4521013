"""Values: what is refused, and what becomes of those that are not."""

import json
from typing import Any

import pytest
import yaml

import helm
from finetune_operator.settings import Settings
from helm import CHART, NAMESPACE, PRESETS


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        pytest.param({"replica": 2}, "'replica' not allowed", id="a typo at the top"),
        pytest.param({"config": {"gangs": {"kueu": {}}}}, "'kueu' not allowed", id="a typo in the settings"),
        pytest.param({"image": {"tags": "1"}}, "'tags' not allowed", id="a typo in a group"),
        pytest.param({"config": {"namespaces": []}}, "'namespaces' not allowed", id="another value's place"),
        pytest.param({"replicas": "2"}, "'/replicas': got string, want integer", id="a number as text"),
        pytest.param({"config": {"deadNodes": "yes"}}, "'/config/deadNodes': got string", id="no boolean"),
        pytest.param({"config": {"logLevel": "loud"}}, "'/config/logLevel': value must be one of", id="no level"),
        pytest.param({"config": {"client": {"qps": 0}}}, "'/config/client/qps': exclusiveMinimum", id="too small"),
        pytest.param({"watch": {"namespaces": ["A"]}}, "'/watch/namespaces/0': 'A' does not match", id="a name"),
        pytest.param(
            {"config": {"trainer": {"resources": {"memory": "4GB"}}}}, "'4GB' does not match", id="no amount"
        ),
        pytest.param({"workloadIdentity": {"provider": "IBM"}}, "'/workloadIdentity/provider'", id="no such cloud"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_by_name(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(helm.Refused) as refused:
        helm.template(values)
    assert complaint in str(refused.value)
    assert "Error" in str(refused.value)


def test_no_group_of_values_takes_what_it_does_not_know() -> None:
    whole = json.loads((CHART / "values.schema.json").read_text())
    groups = dict(_groups(whole, ""))
    assert len(groups) > 20
    is_open = {path for path, group in groups.items() if group["additionalProperties"] is not False}
    assert is_open == {"global"}


def test_every_value_is_explained() -> None:
    whole = json.loads((CHART / "values.schema.json").read_text())
    leaves = dict(_leaves(whole, ""))
    assert len(leaves) > 100
    assert not [path for path, leaf in leaves.items() if not leaf.get("description")]


def test_every_default_is_in_the_file_of_values_and_meets_the_schema() -> None:
    whole = json.loads((CHART / "values.schema.json").read_text())
    written = yaml.safe_load((CHART / "values.yaml").read_text())
    for path, leaf in _leaves(whole, ""):
        if path.startswith("config.timings."):
            continue
        value = written
        for part in path.split("."):
            value = value[part]
        assert value == leaf["default"], path


def test_as_it_comes_the_operators_settings_are_its_own_defaults() -> None:
    found = Settings.model_validate(helm.render().settings)
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    images = {device: f"finetune-trainer:{version}-{device}" for device in ("cpu", "gpu")}
    wanted = Settings.model_validate({"trainer": {"images": images}})
    # What they sign with is each one's own.
    assert found.model_dump() == wanted.model_dump()


@pytest.mark.parametrize("preset", PRESETS)
def test_the_operator_takes_the_settings_of_a_preset(preset: str) -> None:
    asked = yaml.safe_load(PRESETS[preset].read_text())
    found = Settings.model_validate(helm.render(PRESETS[preset]).settings)
    shown = found.model_dump(by_alias=True)
    for path, value in _flat(asked.get("config", {}), ()):
        at: Any = shown
        for part in path:
            at = at[part]
        assert at == value, path
    assert found.namespaces == asked.get("watch", {}).get("namespaces", [])


def test_other_values_reach_the_operators_settings() -> None:
    values = {
        "global": {"imageRegistry": "registry.example.com/ml/", "imagePullSecrets": ["shared"]},
        "watch": {"namespaces": ["team-a"]},
        "trainer": {
            "images": {
                "cpu": {"digest": f"sha256:{'0' * 64}"},
                "gpu": {"registry": "other.example.com", "repository": "gpu", "tag": "7"},
            },
            "imagePullSecrets": ["trainers", "shared"],
        },
        "workloadIdentity": {"provider": "GCP"},
        "monitoring": {"namespaceSelector": {"purpose": "metrics"}},
        "config": {"timings": {"stopSeconds": 1.5}, "networkPolicy": {"egressCidrs": ["10.0.0.0/8"]}},
        "fullnameOverride": "tuner",
    }
    found = Settings.model_validate(helm.render(values).settings)
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert found.trainer.images.cpu == (
        f"registry.example.com/ml/finetune-trainer:{version}-cpu@sha256:{'0' * 64}"
    )
    assert found.trainer.images.gpu == "other.example.com/gpu:7"
    assert found.trainer.image_pull_secrets == ["shared", "trainers"]
    assert found.namespaces == ["team-a"]
    assert found.workload_identity.provider == "GCP"
    assert found.network_policy.monitoring_namespace_selector == {"purpose": "metrics"}
    assert found.network_policy.egress_cidrs == ["10.0.0.0/8"]
    assert found.network_policy.metadata_addresses == Settings().network_policy.metadata_addresses
    assert found.timings.stop_seconds == 1.5
    assert found.lease.name == "tuner"


@pytest.mark.parametrize(
    ("monitoring", "selector"),
    [
        ({}, {"kubernetes.io/metadata.name": "monitoring"}),
        ({"namespace": "prometheus"}, {"kubernetes.io/metadata.name": "prometheus"}),
        ({"namespace": ""}, {}),
        ({"namespace": None}, {}),
        ({"namespaceSelector": {"a": "b"}}, {"a": "b"}),
    ],
)
def test_who_may_scrape_is_the_same_for_operator_and_trainers(
    monitoring: dict[str, Any], selector: dict[str, str]
) -> None:
    rendered = helm.render({"monitoring": monitoring})
    assert rendered.settings["networkPolicy"]["monitoringNamespaceSelector"] == selector
    readers = rendered.one("NetworkPolicy")["spec"]["ingress"][0]["from"]
    allowed = [one["namespaceSelector"]["matchLabels"] for one in readers if "namespaceSelector" in one]
    assert allowed == ([selector] if selector else [])


def test_more_for_the_pod_gets_where_it_belongs() -> None:
    values = {
        "imagePullSecrets": ["mine"],
        "extraEnv": [{"name": "A", "value": "b"}],
        "extraEnvFrom": [{"configMapRef": {"name": "c"}}],
        "extraArgs": ["--more"],
        "extraVolumes": [{"name": "v", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "v", "mountPath": "/v"}],
        "extraContainers": [{"name": "beside", "image": "x:1"}],
        "podSecurityContext": {"runAsUser": 1000670000, "fsGroup": None},
        "podLabels": {"l": "1"},
        "podAnnotations": {"n": "2"},
        "nodeSelector": {"pool": "system"},
        "priorityClassName": "high",
    }
    template = helm.render(values).one("Deployment")["spec"]["template"]
    spec, container = template["spec"], template["spec"]["containers"][0]
    assert spec["imagePullSecrets"] == [{"name": "mine"}]
    assert container["env"][-1] == {"name": "A", "value": "b"}
    assert container["envFrom"] == [{"configMapRef": {"name": "c"}}]
    assert container["args"] == ["--config=/etc/finetune/config.yaml", "--more"]
    assert spec["volumes"][-1]["name"] == container["volumeMounts"][-1]["name"] == "v"
    assert spec["containers"][1]["name"] == "beside"
    assert spec["securityContext"]["runAsUser"] == 1000670000
    assert "fsGroup" not in spec["securityContext"]
    assert template["metadata"]["labels"]["l"] == "1"
    assert template["metadata"]["annotations"]["n"] == "2"
    assert (spec["nodeSelector"], spec["priorityClassName"]) == ({"pool": "system"}, "high")


def test_more_objects_are_filled_in() -> None:
    found = helm.render(PRESETS["locked-down"]).all("ConfigMap")
    (notice,) = [one for one in found if one["metadata"]["name"].endswith("-notice")]
    assert notice["metadata"] == {"name": f"{helm.RELEASE}-notice", "namespace": NAMESPACE}


def _groups(schema: dict[str, Any], path: str) -> Any:
    if "properties" in schema:
        yield path, schema
        for name, one in schema["properties"].items():
            yield from _groups(one, f"{path}.{name}".strip("."))


def _leaves(schema: dict[str, Any], path: str) -> Any:
    if "properties" not in schema:
        yield path, schema
    for name, one in schema.get("properties", {}).items():
        yield from _leaves(one, f"{path}.{name}".strip("."))


def _flat(values: Any, path: tuple[str, ...]) -> Any:
    if isinstance(values, dict) and values:
        for name, one in values.items():
            yield from _flat(one, (*path, name))
    elif values != {}:
        yield path, values
