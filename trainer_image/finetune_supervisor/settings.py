"""The supervisor's environment, read once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune_api import names
from finetune_api.contract import HTTP_PORT, RENDEZVOUS_PORT, TENSORFLOW_PORT, TERMINATION_FILE, Env
from finetune_api.errors import BadConfiguration


@dataclass(frozen=True)
class Address:
    """A host and a port; an empty host means all interfaces when listening."""

    host: str
    port: int

    @staticmethod
    def parse(text: str, variable: str) -> "Address":
        """From `host:port`, `[v6]:port` or `:port`. Raises BadConfiguration."""
        host, separator, port = text.strip().rpartition(":")
        if not separator or not port.isdigit() or int(port) > 65535:
            raise _bad(variable, text, "host:port")
        return Address(host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Settings:
    """One field for each variable of `contract.Env`; None where the job decides."""

    job: Path
    index: int
    addresses: tuple[Address, ...]
    """TensorFlow servers; empty: derived from the job's name."""
    rendezvous: Address | None
    http: Address
    token: str
    scratch: Path
    termination: Path
    credentials: Path | None
    secret: str | None
    """Name of the secret that the credentials come from, where there is one."""
    ca: str | None
    """Name of the ConfigMap that their ca.crt comes from, where there is one."""
    threads: int
    """0: TensorFlow decides."""

    @staticmethod
    def read(environment: Mapping[str, str]) -> "Settings":
        """From the environment. Raises BadConfiguration."""
        rendezvous = environment.get(Env.RENDEZVOUS)
        addresses = environment.get(Env.ADDRESSES, "").split(",")
        credentials = environment.get(Env.CREDENTIALS)
        return Settings(
            job=Path(_required(environment, Env.JOB)),
            index=_number(environment, Env.INDEX),
            addresses=tuple(Address.parse(text, Env.ADDRESSES) for text in addresses if text.strip()),
            rendezvous=Address.parse(rendezvous, Env.RENDEZVOUS) if rendezvous else None,
            http=Address.parse(environment.get(Env.HTTP) or f":{HTTP_PORT}", Env.HTTP),
            token=environment.get(Env.TOKEN, ""),
            scratch=Path(_required(environment, Env.SCRATCH)),
            termination=termination_file(environment),
            credentials=Path(credentials) if credentials else None,
            secret=environment.get(Env.SECRET) or None,
            ca=environment.get(Env.CA) or None,
            threads=_number(environment, Env.THREADS),
        )


@dataclass(frozen=True)
class Places:
    """Where the gang meets."""

    tensorflow: tuple[Address, ...]
    rendezvous: Address


def places(settings: Settings, name: str, workers: int) -> Places:
    """Where the gang of job `name` meets: as the environment says, else by the pods' names on a cluster.

    Raises BadConfiguration when settings and job contradict each other.
    """
    if settings.index >= workers:
        raise _bad(Env.INDEX, str(settings.index), f"a number below spec.workers ({workers})")
    hosts = [names.worker_host(names.object_name(name, workers), index) for index in range(workers)]
    tensorflow = settings.addresses or tuple(Address(host, TENSORFLOW_PORT) for host in hosts)
    if len(tensorflow) != workers:
        raise _bad(Env.ADDRESSES, f"{len(tensorflow)} addresses", f"{workers} addresses, one per worker")
    if workers > 1 and not settings.token:
        raise _bad(Env.TOKEN, "", "the random token that all workers of the job share")
    return Places(tensorflow, settings.rendezvous or Address(hosts[0], RENDEZVOUS_PORT))


def termination_file(environment: Mapping[str, str]) -> Path:
    """Where the report goes; known even when the other variables are wrong."""
    return Path(environment.get(Env.TERMINATION) or TERMINATION_FILE)


def _required(environment: Mapping[str, str], variable: Env) -> str:
    value = environment.get(variable, "")
    if not value:
        raise _bad(variable, value, "a path")
    return value


def _number(environment: Mapping[str, str], variable: Env) -> int:
    text = environment.get(variable) or "0"
    if not text.isdigit():
        raise _bad(variable, text, "a whole number, 0 or more")
    return int(text)


def _bad(variable: str, value: str, expected: str) -> BadConfiguration:
    happened = f"{variable} is `{value}`" if value else f"{variable} is not set"
    return BadConfiguration(
        "BadEnvironment", happened, expected, f"start the supervisor with {variable} as the contract says"
    )
