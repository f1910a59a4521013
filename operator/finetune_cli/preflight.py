"""What can be said at once: a wrong path or a missing permission should not wait for TensorFlow to start."""

import importlib.util

from finetune_api.errors import BadConfiguration
from finetune_api.plan import ResolvedJob
from finetune_cli import facts, stores
from finetune_store.run_folder import RunFolder


def check(resolved: ResolvedJob, run_folder: RunFolder) -> int:
    """Look at the places the job names; how many classes there seem to be.

    A few images on this machine are looked at one by one. Of others only the class folders are listed: the
    trainer examines them, once, and says the same of them.

    Raises:
        BadConfiguration: TensorFlow is not installed.
        MissingInput: a folder or bucket is not there.
        Denied: it may not be read or written.
        BadData: the images cannot be trained on.
    """
    _require_trainer()
    run_folder.check_writable()
    if facts.is_quick(resolved):
        return len(facts.examine(resolved).listed.classes)
    if resolved.validation_uri is not None:
        _num_classes(resolved, resolved.validation_uri)
    return _num_classes(resolved, resolved.train_uri)


def _num_classes(resolved: ResolvedJob, uri: str) -> int:
    images = stores.opened(resolved, uri)
    images.require_root()
    return sum(not name.startswith(".") for name in images.folders())


def _require_trainer() -> None:
    missing = [name for name in ("tensorflow", "keras", "scipy") if importlib.util.find_spec(name) is None]
    if missing:
        raise BadConfiguration(
            "TrainerNotInstalled",
            f"`finetune run` trains on this machine, but {', '.join(missing)} cannot be imported",
            "the trainer's packages next to the command",
            "pip install 'finetune-operator[cli,trainer-cpu]', or [cli,trainer] for GPUs",
        )
