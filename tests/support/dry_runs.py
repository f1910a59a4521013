"""What the API server would do with many FineTuneJobs, without storing one: strict, as kubectl asks it to be."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from api_client import Api, ApiError

Json = dict[str, Any]
_CONNECTIONS = 8
_QUERY = "?dryRun=All&fieldValidation=Strict"


def creations(api: Api, namespace: str, documents: Sequence[Json]) -> list[Json | str]:
    """Each document as it would be stored, or the words of its refusal, in order."""
    return _all(
        api, "POST", f"/apis/finetune.dev/v1alpha1/namespaces/{namespace}/finetunejobs{_QUERY}", documents
    )


def statuses(api: Api, namespace: str, name: str, documents: Sequence[Json]) -> list[Json | str]:
    """The same for the status of an existing job; `documents` hold its resourceVersion."""
    path = f"/apis/finetune.dev/v1alpha1/namespaces/{namespace}/finetunejobs/{name}/status{_QUERY}"
    return _all(api, "PUT", path, documents)


def _all(api: Api, method: str, path: str, documents: Sequence[Json]) -> list[Json | str]:
    def ask(document: Json) -> Json | str:
        try:
            return api.request(method, path, document)
        except ApiError as error:
            if error.status not in (400, 422):
                raise
            return error.message

    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        return list(pool.map(ask, documents))
