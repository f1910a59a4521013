"""Several devices of one worker train as one does: two processors here, as two GPUs would."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

LAYER = "block_16_expand"
CASES: dict[str, dict[str, Any]] = {
    "momentum": {},
    "weight decay": {"weight_decay": 1.0},
    "Adam, clipped": {"optimizer": "Adam", "learning_rate": 0.001, "clip_norm": 0.5},
    "AdamW": {"optimizer": "AdamW", "learning_rate": 0.001, "weight_decay": 1.0},
    "RMSprop": {"optimizer": "RMSprop", "learning_rate": 0.001, "momentum": 0.5},
    "Lion, focal": {"optimizer": "Lion", "learning_rate": 0.0001, "focal_gamma": 2.0},
}


@pytest.fixture(scope="module")
def apart() -> dict[str, dict[str, float]]:
    """For each case how far weights are apart, in a process of its own: devices are dealt only once."""
    here = Path(__file__).parent
    path = [str(here), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_devices_end_where_one_does(apart: dict[str, dict[str, float]], case: str) -> None:
    assert apart[case]["replicas"] == 0.0
    assert apart[case]["alone"] < 1e-5


def main() -> None:
    """Prints, for each case, the largest differences of a weight."""
    import numpy as np
    import tensorflow as tf
    import test_stage

    from finetune_trainer import distribution, stage_model
    from finetune_trainer.state import RunState

    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
    gangs = [
        distribution.Gang(strategy, 0, 1)
        for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
    ]
    build = stage_model.build

    def trained(gang: distribution.Gang, changes: dict[str, Any]) -> Any:
        built: list[Any] = []
        distribution.create = lambda *_: gang
        stage_model.build = lambda *given: built.append(build(*given)) or built[-1]
        folder = Path(tempfile.mkdtemp())
        setting = test_stage.Setting(test_stage.layer_index(LAYER), folder, **changes)
        setting.run.train(RunState())
        return built[0]

    def furthest(pairs: Any) -> float:
        return max(float(np.abs(one - other).max()) for one, other in pairs)

    found = {}
    for case, changes in CASES.items():
        alone, both = (trained(gang, changes) for gang in gangs)
        kept, other = alone.arrays(), both.arrays()
        found[case] = {
            "alone": furthest((kept[name], other[name]) for name in kept),
            "replicas": furthest([part.numpy() for part in weight.value.values] for weight in both.weights),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
