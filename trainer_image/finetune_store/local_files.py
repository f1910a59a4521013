"""Durable writes of local files, and their errors in the terms of `finetune_api.errors`."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from finetune_api.errors import BadConfiguration, Denied, FineTuneError, MissingInput, TryAgain

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def flush(path: Path) -> None:
    """Have a file's content, or a folder's names, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Translate the errors of reading `path`: MissingInput, Denied, TryAgain."""
    try:
        yield
    except OSError as error:
        raise _read_problem(path, error) from error


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Translate the errors of writing `path`, FileExistsError apart: Denied, BadConfiguration, TryAgain."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise _write_problem(path, error) from error


def _read_problem(path: str, error: OSError) -> FineTuneError:
    if error.errno in _ABSENT:
        return MissingInput("FileNotFound", f"{path} does not exist", "an existing file", "correct the path")
    if error.errno in _REFUSED:
        return Denied("NotReadable", f"{path} may not be read by this user", "", "change its permissions")
    return TryAgain("StorageUnavailable", f"cannot read {path}: {error.strerror}")


def _write_problem(path: str, error: OSError) -> FineTuneError:
    if error.errno in (*_ABSENT, *_REFUSED):
        return Denied(
            "NotWritable",
            f"{path} cannot be written: {error.strerror}",
            "a folder that this user may write to",
            "choose another place or change its permissions",
        )
    if error.errno in _FULL:
        return BadConfiguration(
            "DiskFull", f"{path} cannot be written: {error.strerror}", "", "free some space there"
        )
    return TryAgain("StorageUnavailable", f"cannot write {path}: {error.strerror}")
