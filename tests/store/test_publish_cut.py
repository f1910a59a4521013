"""A publish is cut off before or after each of its requests, for good or for a moment, on a real S3."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from finetune_api.errors import FineTuneError
from finetune_store.publish import identity, publish
from finetune_store.run_folder import RunFolder
from model_versions import assert_loadable, assert_sound, assert_whole, export_of, versions
from s3 import S3, Cut, CuttingProxy

MODEL = identity("run1", "plan", "checkpoint", "weights")
MODEL_FOLDER = "team/flowers/model"


def run_in(s3: S3, endpoint: str, prefix: str, patience: float) -> RunFolder:
    return RunFolder(s3.store_at(endpoint, prefix, patience), "team", "flowers", "run1")


def number_of_requests(s3: S3, work: Path) -> int:
    prefix = f"uncut-{secrets.token_hex(4)}"
    run_in(s3, s3.endpoint, prefix, 20).claim_generation(1, {})
    with CuttingProxy(s3.endpoint) as proxy:
        publish(run_in(s3, proxy.endpoint, prefix, 20), MODEL, 1, export_of(work, seed=0))
        assert len(proxy.requests) > 30
        return len(proxy.requests)


def test_cut_off_for_good_the_second_try_finishes_with_the_same_identity(s3: S3, tmp_path: Path) -> None:
    total = number_of_requests(s3, tmp_path / "uncut")
    cuts = [Cut(number, when) for number in range(1, total + 1) for when in ("before", "after")]
    with ThreadPoolExecutor(6) as pool:
        finished = list(pool.map(lambda cut: cut_and_finish(s3, tmp_path, cut), cuts))
    assert finished.count(True) <= 2, "nearly every first try was cut off before its end"


def cut_and_finish(s3: S3, tmp_path: Path, cut: Cut) -> bool:
    """Cut the first try, look at what it left, and let a second one export and publish anew."""
    prefix = f"for-good-{cut.number}-{cut.when}"
    direct = run_in(s3, s3.endpoint, prefix, 20)
    direct.claim_generation(1, {})
    finished = True
    with CuttingProxy(s3.endpoint, cut) as proxy:
        try:
            publish(
                run_in(s3, proxy.endpoint, prefix, 0.1), MODEL, 1, export_of(tmp_path / prefix / "1", seed=1)
            )
        except FineTuneError as error:
            assert error.exit_code == 75, str(error)  # noqa: PT017
            finished = False
    assert_sound(direct)
    assert_loadable(direct.store, MODEL_FOLDER)
    direct.claim_generation(2, {})
    publication = publish(direct, MODEL, 2, export_of(tmp_path / prefix / "2", seed=2))
    assert publication.manifest["identity"] == MODEL
    assert versions(direct) == [publication.version] == [1]
    assert_whole(direct, 1)
    assert_sound(direct)
    assert direct.published() is not None
    assert direct.store.exists("team/flowers/latest.json")
    assert direct.store.get("team/flowers/README.md") in (b"model 1", b"model 2")
    assert list(direct.store.list(direct.key("exports"))) == []
    return finished


def test_cut_off_for_a_moment_the_first_try_finishes(s3: S3, tmp_path: Path) -> None:
    total = number_of_requests(s3, tmp_path / "uncut")
    cuts = [
        Cut(number, when, for_good=False) for number in range(1, total + 1) for when in ("before", "after")
    ]

    def cut_once(cut: Cut) -> None:
        prefix = f"moment-{cut.number}-{cut.when}"
        direct = run_in(s3, s3.endpoint, prefix, 20)
        direct.claim_generation(1, {})
        with CuttingProxy(s3.endpoint, cut) as proxy:
            cut_run = run_in(s3, proxy.endpoint, prefix, 20)
            assert publish(cut_run, MODEL, 1, export_of(tmp_path / prefix, seed=1)).version == 1
            assert len(proxy.requests) > total, "the cut request was asked again"
        assert versions(direct) == [1]
        assert_whole(direct, 1)
        assert list(direct.store.list(direct.key("exports"))) == []

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(cut_once, cuts))


@pytest.mark.parametrize("step", ["claim.json", "export.json"])
def test_a_second_try_needs_no_export_once_one_was_elected(s3: S3, tmp_path: Path, step: str) -> None:
    prefix = f"elected-after-{step[:5]}"
    direct = run_in(s3, s3.endpoint, prefix, 20)
    direct.claim_generation(1, {})
    with CuttingProxy(s3.endpoint) as probe:
        probe_run = run_in(s3, probe.endpoint, f"{prefix}-probe", 20)
        probe_run.claim_generation(1, {})
        probe.requests.clear()
        publish(probe_run, MODEL, 1, export_of(tmp_path / "probe", seed=1))
        puts = [i for i, line in enumerate(probe.requests, 1) if line.startswith("PUT") and step in line]
    with (
        CuttingProxy(s3.endpoint, Cut(puts[0], "after")) as proxy,
        pytest.raises(FineTuneError, match="no connection"),
    ):
        publish(run_in(s3, proxy.endpoint, prefix, 0.1), MODEL, 1, export_of(tmp_path / "1", seed=1))
    if step == "claim.json":
        with pytest.raises(FineTuneError, match="nothing has been exported"):
            publish(direct, MODEL, 1, None)
    else:
        assert publish(direct, MODEL, 1, None).version == 1
        assert direct.store.get("team/flowers/README.md") == b"model 1"
