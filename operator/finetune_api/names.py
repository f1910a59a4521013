"""Names of a job's objects on a cluster, as the operator gives them and a supervisor finds its peers by."""

import hashlib

_PREFIX = "ft-"
_LONGEST = 63
"""Of a DNS label: a pod's hostname is one."""
_HASH_LENGTH = 8


def object_name(job_name: str, workers: int) -> str:
    """Name of the Service, Job … of a job: ft-<name>, at most as long as its pods' hostnames allow.

    The Job controller gives worker i the hostname <object>-<i>. A longer name is cut and told apart from
    others with the same beginning by a hash.
    """
    longest = _LONGEST - len(f"-{workers - 1}")
    whole = _PREFIX + job_name
    if len(whole) <= longest:
        return whole
    digest = hashlib.sha256(job_name.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{whole[: longest - len(digest) - 1].rstrip('-')}-{digest}"


def worker_host(object_name: str, index: int) -> str:
    """Host of worker `index`, as pods of the same namespace can look it up."""
    return f"{object_name}-{index}.{object_name}"
