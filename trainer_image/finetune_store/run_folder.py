"""The folder of one run: what its generations agree on and hand to one another.

    <uri>/.run/<namespace>/<name>/<run id>/
        plan.json                 what is going to run; the first one written counts for all generations
        generations/000001.json   who claimed a generation; a higher number fences the lower ones out
        budget.json               counted failures
        checkpoints/<id>/         see `checkpoint_index`
        trained.json              training is over: nothing is trained again
        exports/, claim.json      see `publish`
        published.json            nothing remains to be done

Light on purpose: the supervisor imports it.
"""

import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from finetune_api.errors import GaveUp, TryAgain
from finetune_store.storage import Store

Document = dict[str, Any]


class RunFolder:
    """The run `run_id` of the job `namespace`/`name`, whose results go below the root of `store`."""

    def __init__(self, store: Store, namespace: str, name: str, run_id: str) -> None:
        self.store = store
        self.run_id = run_id
        self.results = f"{namespace}/{name}"
        """Folder of the job's results, as a key of `store`."""
        self.claims = f".run/{namespace}/{name}/versions"
        """Folder of version numbers taken by the job's runs."""
        self.removals = f".run/{namespace}/{name}/removals"
        """Folder of notes about versions that are being removed."""
        self.folder = f".run/{namespace}/{name}/{run_id}"

    def key(self, name: str) -> str:
        """Key in the store of `name` in this run's folder."""
        return f"{self.folder}/{name}"

    def other(self, run_id: str) -> "RunFolder":
        """The folder of another run of the same job."""
        namespace, name = self.results.split("/")
        return RunFolder(self.store, namespace, name, run_id)

    def check_writable(self) -> None:
        """Raise Denied, MissingInput … now rather than after an hour of training."""
        self.store.check_writable(self.folder)

    def adopt(self, name: str, make: Callable[[], bytes]) -> bytes:
        """The content of `name`, made and written by the first caller; every later caller gets that one."""
        key = self.key(name)
        found = self.store.find(key)
        return self.store.create_or_read(key, make()) if found is None else found

    def adopt_plan(self, make: Callable[[], str]) -> str:
        """The run's plan: the one there is, else the one that `make` returns."""
        return self.adopt("plan.json", lambda: make().encode()).decode()

    def claim_generation(self, generation: int, document: Mapping[str, Any]) -> bool:
        """Try to become the one who runs `generation` (1, 2, …); exactly one claimant is told True."""
        claim = {**document, "generation": generation, "claimant": secrets.token_hex(8)}
        return self.store.create(self._generation_key(generation), to_json(claim))

    def describe_generation(self, generation: int, document: Mapping[str, Any]) -> None:
        """Say more about one that this process has claimed."""
        self.store.put(self._generation_key(generation), to_json({**document, "generation": generation}))

    def latest_generation(self) -> tuple[int, Document] | None:
        """The newest claimed generation and its document, or None before the first."""
        if not (generation := self._newest_number()):
            return None
        key = self._generation_key(generation)
        return generation, from_json(self.store.get(key), self.store.uri(key))

    def is_current(self, generation: int) -> bool:
        """Whether nobody has claimed a later generation: ask before writing what others will read."""
        return self._newest_number() <= generation

    def require_current(self, generation: int) -> None:
        """Raise TryAgain (Fenced) when a later generation has been claimed."""
        if not self.is_current(generation):
            raise TryAgain("Fenced", f"generation {generation} is over: a later one has been started")

    def budget(self) -> Document | None:
        """What `save_budget` wrote last."""
        return self.read("budget.json")

    def save_budget(self, document: Mapping[str, Any]) -> None:
        """Keep the count of failures over restarts of the supervisor."""
        self.store.put(self.key("budget.json"), to_json(document))

    def trained(self) -> Document | None:
        """The outcome of training once it is over, else None."""
        return self.read("trained.json")

    def mark_trained(self, document: Mapping[str, Any]) -> Document:
        """Training is over; the first outcome written counts, and is returned."""
        key = self.key("trained.json")
        return from_json(self.store.create_or_read(key, to_json(document)), self.store.uri(key))

    def forget_trained(self) -> None:
        """Take `mark_trained` back: the checkpoint it names turned out to be damaged."""
        self.store.delete(self.key("trained.json"))

    def published(self) -> Document | None:
        """The publication once nothing remains to be done (`publish.publish` writes it), else None."""
        return self.read("published.json")

    def read(self, name: str) -> Document | None:
        """The JSON document `name`, or None when it is not there."""
        key = self.key(name)
        found = self.store.find(key)
        return None if found is None else from_json(found, self.store.uri(key))

    def _generation_key(self, generation: int) -> str:
        return self.key(f"generations/{generation:06d}.json")

    def _newest_number(self) -> int:
        entries = self.store.list(self.key("generations"))
        return max((int(entry.key[-11:-5]) for entry in entries if entry.key.endswith(".json")), default=0)


def to_json(document: Mapping[str, Any]) -> bytes:
    """The one way documents are written: sorted, so that equal documents are equal bytes."""
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def from_json(data: bytes, uri: str) -> Document:
    """A document of ours back again. Raises GaveUp when somebody else has written there."""
    try:
        document = json.loads(data)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise GaveUp(
            "RunFolderDamaged",
            f"{uri} is not the JSON that was written there",
            "a run folder that nobody else writes to",
            "delete the file or the run folder",
        )
    return document
