"""One worker of a real gang as a program: the training process without a supervisor above it.

python -m gang_member REQUEST.json EVENTS.jsonl [--step-by-step]

Runs exactly what the zygote runs in a forked child; events go to a file. `--step-by-step` makes each chunk one
step long, so that the loss of every step is among the events.
"""

import os
import sys
from pathlib import Path

from finetune_api.events import TrainRequest
from finetune_trainer import child, stage


def main(request_file: str, events_file: str, *flags: str) -> int:
    """Returns the child's exit status."""
    if "--step-by-step" in flags:
        stage.SECONDS_PER_CHUNK = 0.0
    request = TrainRequest.model_validate_json(Path(request_file).read_text())
    events = os.open(events_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    # The other end stays open: its closing would say that the supervisor is gone.
    commands, _ = os.pipe()
    return child.main(request, events, commands)


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    # As in a forked child: TensorFlow's servers have no orderly way to stop while peers are going too.
    os._exit(code)
