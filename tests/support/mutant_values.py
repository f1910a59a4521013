"""What to put into a field of the CRD's schema: values that it allows, and odd ones."""

import random
from collections.abc import Iterator
from typing import Any

from finetune_api.v1alpha1 import fields, units

Json = dict[str, Any]

METADATA: Json = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "x-finetune-pattern": fields.NAME, "maxLength": 63},
        "labels": {
            "type": "object",
            "x-finetune-keys": True,
            "additionalProperties": {"type": "string", "x-finetune-pattern": fields.LABEL_VALUE},
        },
    },
}
"""Of what the CRD leaves to the API server."""

_GOOD = {
    fields.NAME: ("a", "0", "a-b", "9-to-5"),
    fields.OBJECT_NAME: ("s3-credentials", "a.b", "0.0", "x1"),
    fields.LABEL_KEY: ("zone", "topology.kubernetes.io/zone", "a/B_c.d", "Z"),
    fields.LABEL_VALUE: ("", "a", "A_b.C-d", "eu-central-1"),
    fields.CONTROLLER: ("kueue.x-k8s.io/multikueue", "a/b"),
    fields.IMAGE: ("a", "registry.example.com/team/trainer:1.2", "localhost:5000/x@sha256:" + "0" * 64),
    fields.URI: ("s3://bucket/a b", "gs://b", "az://c/ü/日本", "s3://b/😀", "s3://b/$(id)", "s3://b/%2e%2e/"),
    fields.LINE: ("", "eth0", "10.0.0.0/8,.svc", "a=b; rm -rf /", "日本 😀", "$(HOME) ${HOME} {{ x }}"),
    fields.URL: ("http://minio:9000", "https://[::1]:9000/x"),
    fields.SHA256: ("0123456789abcdef" * 4,),
    fields.WEIGHTS: ("imagenet", "none", "s3://b/x.weights.h5"),
    fields.ENV_NAME: ("NCCL_SOCKET_IFNAME", "HTTPS_PROXY", "no_proxy", "TF_CPP_MIN_LOG_LEVEL"),
    units.QUANTITY: (0, 1, "512", "20Gi", "1.5G", "500m", "0"),
    units.DURATION: ("90s", "10m", "1h30m", "0.5s", "250ms"),
}
_HOSTILE = (
    "", " ", "a b", "A", "a\n", "\na", "a\x00b", "\x00", "\x7f", "\u2028", "ａ", "é", "日本", "😀", "-a", "a-", "..",
    ".", "a..b", "../../etc/passwd", "/etc/passwd", "s3://b/../c", "file:///etc", "http://169.254.169.254/", "s3:/b",
    "$(id)", "{{ 1 }}", "%s%n", "'; drop table", "<b>", "true", "null", "1e3", "0x1F", "-1", "20GB", "0s", "1d",
    "5 s", "1e3Gi", "-5Gi", "+1", "Imagenet", "x.weights.h5", "LD_PRELOAD", "AWS_SECRET_ACCESS_KEY", "TF_CONFIG",
    "kubernetes.io/a/b", "minio:9000", "a" * 63, "a" * 64, "a" * 253, "a" * 254, "é" * 1024, "a" * 1025, "😀" * 5000,
)  # fmt: skip
_NO_TEXT: tuple[Any, ...] = (None, True, False, 0, -1, 1.5, [], {}, [None], {"a": 1})
_NO_NUMBER: tuple[Any, ...] = (None, True, False, "", "1", "one", [], {}, [1], {"a": 1})
_HUGE = (2**31, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63), 1e18, 1e300, -1e300)


def fine(node: Json, chance: random.Random) -> list[Any]:
    """Some values that a field allows; its rules with other fields may not."""
    return list(_fine(node, chance))


def odd(node: Json) -> list[Any]:
    """Values beyond bounds, of another type, hostile; a few are allowed all the same."""
    return list(_odd(node))


def _fine(node: Json, chance: random.Random) -> Iterator[Any]:
    if "default" in node:
        yield node["default"]
    if "enum" in node:
        yield from node["enum"]
    elif "x-kubernetes-int-or-string" in node:
        yield from _GOOD.get(_pattern(node), (1, 2, 64, "PerEpoch"))
    elif node["type"] == "string":
        yield from _GOOD.get(_pattern(node), ("block_12_add", "é", "a" * 10))
    elif node["type"] in ("integer", "number"):
        yield from _fine_numbers(node, chance)
    elif node["type"] == "boolean":
        yield from (True, False)
    elif "x-finetune-keys" in node or "additionalProperties" in node:
        yield from _fine_maps(node, chance)


def _fine_numbers(node: Json, chance: random.Random) -> Iterator[Any]:
    low, high = node["minimum"], node["maximum"]
    if node["type"] == "integer":
        yield from (low, high, float(low), low + 1)
        yield from (chance.randint(low, min(high, low + spread)) for spread in (4, 20, 100, 5000))
    else:
        yield from ((low + high) / 2, low + (high - low) * chance.random(), high - (high - low) * 1e-9)
        yield from (bound for bound in (low, high) if not node.get("exclusiveMinimum"))


def _fine_maps(node: Json, chance: random.Random) -> Iterator[Any]:
    yield {}
    values = list(_fine(node["additionalProperties"], chance))
    yield from ({key: chance.choice(values)} for key in (*_GOOD[fields.LABEL_KEY], "memory", "cpu"))
    yield {"example.com/device": 2}


def _odd(node: Json) -> Iterator[Any]:
    kind = "int-or-string" if "x-kubernetes-int-or-string" in node else node["type"]
    if kind == "int-or-string":
        yield from (None, True, 1.5, 4.0, [], {}, -1, 0, 65, *_HUGE, *_HOSTILE)
    elif kind == "string":
        yield from (*_NO_TEXT, *_HOSTILE, *_near_length(node))
    elif kind in ("integer", "number"):
        yield from (*_NO_NUMBER, *_HUGE, 2.5, 1e-300, -0.0, node["minimum"] - 1, node["maximum"] + 1)
        yield from (node["minimum"], node["maximum"], 5.0)
    elif kind == "boolean":
        yield from (None, 0, 1, "true", "yes", "", [], {})
    elif kind == "array":
        yield from (
            None,
            {},
            "",
            0,
            [],
            [None],
            [{}],
            [[]],
            [0],
            ["a"],
            [{"name": "a"}] * (node["maxItems"] + 1),
        )
    else:
        yield from (None, [], "", 0, {}, {"unknownField": 1}, {"unknownField": None}, {"": 1}, {"a b": "c"})
        yield from _odd_maps(node)


def _odd_maps(node: Json) -> Iterator[Any]:
    if "additionalProperties" not in node:
        return
    yield from (
        {key: "1"} for key in ("x" * 64, "a/" + "x" * 64, "x" * 254 + "/a", "é", "/a", "a/", "A.b/c", "a/b/c")
    )
    amounts: tuple[Any, ...] = (None, True, 1.0, 1.5, -1, "-1", [], {})
    yield from ({"cpu": amount} for amount in amounts)
    yield {f"k{n}": "1" for n in range(17)}


def _near_length(node: Json) -> Iterator[str]:
    for length in (node.get("maxLength", 1), node.get("minLength", 1)):
        yield from ("a" * length, "a" * (length + 1), "a" * (length - 1), "é" * length, "😀" * length)


def _pattern(node: Json) -> str:
    """The pattern that the schema's rules ask for, or none."""
    text = "".join(rule["rule"] for rule in node.get("x-kubernetes-validations", ()))
    found = (pattern for pattern in fields.MEANINGS if f"r'{pattern}'" in text)
    return str(node.get("x-finetune-pattern") or next(found, ""))
