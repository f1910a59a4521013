"""What pretended clusters are made of: times, merge patches, a FineTuneJob and how a run of it ends."""

from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

Body = dict[str, Any]
START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
UID = "11111111-2222-3333-4444-555555555555"
ON_A_CLUSTER = {"workers": 4, "data.train": "s3://bucket/flowers", "output.uri": "s3://bucket/models"}
PUBLISHED = (
    '{"generation":2,"phase":"Upload","stage":1,"stageName":"finetune","step":120,"exitCode":0,"result":'
    '{"event":"result","result":"Published","modelUri":"s3://bucket/models/ns/flowers/model/1","version":1,'
    '"metrics":{"val_accuracy":0.9431,"loss":0.2},"bestStage":"finetune","bestEpoch":3}}'
)


def time(moment: datetime) -> str:
    """As the API server writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def merge(into: Body, patch: Mapping[str, Any], *, keyed: bool = False) -> None:
    """RFC 7386; with `keyed`, conditions are merged by their type as in a strategic merge patch."""
    for key, value in patch.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, Mapping):
            inner = into.get(key)
            into[key] = inner if isinstance(inner, dict) else {}
            merge(into[key], value, keyed=keyed)
        elif keyed and key == "conditions":
            named = {one["type"]: one for one in (*into.get(key, []), *value)}
            into[key] = deepcopy(list(named.values()))
        else:
            into[key] = deepcopy(value)
