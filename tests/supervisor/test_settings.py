"""The environment of a supervisor."""

from pathlib import Path

import pytest

from finetune_api.contract import Env
from finetune_api.errors import BadConfiguration
from finetune_supervisor.settings import Address, Settings, places, termination_file
from finetune_supervisor.worker import zygote_environment

LEAST: dict[str, str] = {Env.JOB: "/job/job.json", Env.SCRATCH: "/scratch"}


def test_a_pod_needs_little() -> None:
    settings = Settings.read(LEAST)
    assert settings.http == Address("", 9090)
    assert (settings.index, settings.threads, settings.credentials) == (0, 0, None)
    assert settings.termination == Path("/dev/termination-log")


def test_on_a_cluster_addresses_come_from_the_job_name() -> None:
    settings = Settings.read({**LEAST, Env.TOKEN: "secret"})
    where = places(settings, "flowers", workers=2)
    assert [str(address) for address in where.tensorflow] == [
        "ft-flowers-0.ft-flowers:2222",
        "ft-flowers-1.ft-flowers:2222",
    ]
    assert str(where.rendezvous) == "ft-flowers-0.ft-flowers:2223"


def test_the_environment_comes_before_the_job_name() -> None:
    environment = {
        **LEAST,
        Env.TOKEN: "s",
        Env.ADDRESSES: "127.0.0.1:1,[::1]:2",
        Env.RENDEZVOUS: "127.0.0.1:3",
    }
    where = places(Settings.read(environment), "flowers", workers=2)
    assert where.tensorflow == (Address("127.0.0.1", 1), Address("::1", 2))
    assert where.rendezvous == Address("127.0.0.1", 3)
    assert str(where.tensorflow[1]) == "[::1]:2"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param({Env.JOB: ""}, "FINETUNE_JOB is not set", id="no job"),
        pytest.param({Env.SCRATCH: ""}, "FINETUNE_SCRATCH is not set", id="no scratch folder"),
        pytest.param({Env.INDEX: "one"}, "FINETUNE_WORKER_INDEX is `one`", id="an index in words"),
        pytest.param({Env.INDEX: "-1"}, "FINETUNE_WORKER_INDEX is `-1`", id="a negative index"),
        pytest.param({Env.THREADS: "2.5"}, "FINETUNE_THREADS is `2.5`", id="half a thread"),
        pytest.param({Env.HTTP: "9090"}, "FINETUNE_HTTP is `9090`", id="a port alone"),
        pytest.param({Env.HTTP: "host:99999"}, "FINETUNE_HTTP is `host:99999`", id="a port that is none"),
        pytest.param({Env.ADDRESSES: "a:1,b"}, "FINETUNE_ADDRESSES is `b`", id="an address without a port"),
    ],
)
def test_a_wrong_variable_is_named(change: dict[str, str], complaint: str) -> None:
    with pytest.raises(BadConfiguration, match=complaint):
        Settings.read({**LEAST, **change})


@pytest.mark.parametrize(
    ("change", "workers", "complaint"),
    [
        pytest.param({Env.INDEX: "2"}, 2, "a number below spec.workers", id="an index beyond the gang"),
        pytest.param({Env.ADDRESSES: "a:1"}, 2, "1 addresses", id="an address is missing"),
        pytest.param({Env.TOKEN: ""}, 2, "FINETUNE_TOKEN is not set", id="a gang without a token"),
    ],
)
def test_environment_and_job_must_fit(change: dict[str, str], workers: int, complaint: str) -> None:
    settings = Settings.read({**LEAST, Env.TOKEN: "secret", **change})
    with pytest.raises(BadConfiguration, match=complaint):
        places(settings, "flowers", workers)


def test_one_worker_needs_no_token() -> None:
    assert len(places(Settings.read(LEAST), "flowers", workers=1).tensorflow) == 1


def test_the_report_has_its_place_even_if_all_else_is_wrong() -> None:
    assert termination_file({Env.TERMINATION: "/somewhere"}) == Path("/somewhere")


def test_training_processes_never_see_the_token() -> None:
    inherited = zygote_environment({Env.TOKEN: "secret", "PATH": "/bin"}, threads=0)
    assert inherited == {"PATH": "/bin"}


def test_thread_pools_are_as_large_as_the_worker_may_use() -> None:
    inherited = zygote_environment({"OMP_NUM_THREADS": "7"}, threads=2)
    assert inherited == {"OMP_NUM_THREADS": "7", "OPENBLAS_NUM_THREADS": "2"}
