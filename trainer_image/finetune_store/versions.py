"""Version numbers: each belongs to one identity, for ever."""

from itertools import count

from finetune_api.errors import GaveUp
from finetune_store.run_folder import RunFolder, from_json, to_json

_CLAIM = "claim.json"


def claim_version(run: RunFolder, identity: str) -> int:
    """The version number that is for `identity`; the same one each time a run asks.

    Raises GaveUp (ConflictingVersion) when the run has claimed a number for something else.
    """
    if (claim := run.read(_CLAIM)) is None:
        mine = to_json({"version": _take_number(run, identity), "identity": identity})
        key = run.key(_CLAIM)
        claim = from_json(run.store.create_or_read(key, mine), run.store.uri(key))
    if claim["identity"] != identity:
        raise GaveUp(
            "ConflictingVersion",
            f"this run has claimed version {claim['version']} for other weights",
            "one model from each run",
            "run again with --new-version",
        )
    return int(claim["version"])


def _take_number(run: RunFolder, identity: str) -> int:
    """Claim the first number that is free, or that a cut-off attempt of ours has taken."""
    wanted = {"identity": identity, "runId": run.run_id}
    for number in count(_first_candidate(run)):
        key = f"{run.claims}/{number:06d}.json"
        if from_json(run.store.create_or_read(key, to_json(wanted)), run.store.uri(key)) == wanted:
            return number
    raise AssertionError("count() does not end")


def _first_candidate(run: RunFolder) -> int:
    claimed = max((int(entry.key[-11:-5]) for entry in run.store.list(run.claims)), default=1)
    # Claims may have been cleaned up together with old run folders; the models themselves stay.
    published = run.store.folders(f"{run.results}/model")
    return max(claimed, *(1 + int(name) for name in published if name.isdigit()), 1)
