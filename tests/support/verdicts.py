"""Whether Python takes a FineTuneJob for a cluster, and what it says if not: the models, and what CEL adds to them."""

from typing import Any
from unittest import mock

from pydantic import ValidationError

from finetune_api import not_built, schedule, yaml_loader
from finetune_api.errors import BadJob
from finetune_api.v1alpha1 import FineTuneJob, FineTuneJobSpec

_STORES = ("s3://", "gs://", "az://")
_LAYER_NAMES = "UnknownLayer"


def complaint(document: dict[str, Any]) -> str:
    """Why this job is refused; empty when it is accepted."""
    try:
        job = yaml_loader.parse_job(document, "the job")
    except BadJob as error:
        return str(error)
    return _out_of_reach(job.spec) or _unfit(job)


def _out_of_reach(spec: FineTuneJobSpec) -> str:
    data, output = spec.data, spec.output
    places = [(uri, data.volume_claim_name) for uri in (data.train, data.validation.uri, data.test) if uri]
    places.append((output.uri, output.volume_claim_name))
    unreachable = [uri for uri, claim in places if not _reachable(uri, claim)]
    files = [uri for uri in (spec.model.weights, spec.checkpoint.warm_start_from) if uri]
    unreachable += [uri for uri in files if uri not in ("imagenet", "none") and not uri.startswith(_STORES)]
    return f"out of reach: {unreachable}" if unreachable else ""


def _reachable(uri: str, claim: str | None) -> bool:
    if ".." in uri.split("/"):
        return False
    return uri.startswith(_STORES) or (claim is not None and "://" not in uri)


def _unfit(job: FineTuneJob) -> str:
    """What `resolve` says, apart from what is not built and from names of layers: no CRD can hold those."""
    with mock.patch.object(not_built, "refuse_unbuilt"):
        try:
            schedule.resolve(job)
        except BadJob as error:
            is_name = error.reason == _LAYER_NAMES and "fromLayerIndex" not in str(error)
            return "" if is_name else str(error)
        except ValidationError:  # a choice that is not built
            return ""
    return ""
