"""What the zygote's children of the tests do: one function, told by the request's scratch path what to be."""

import os
import sys
import threading

from finetune_api.events import Phase, ResultEvent, TickEvent, TrainRequest
from finetune_trainer.channel import Channel
from finetune_trainer.zygote import runtime_has_started


def main(request: TrainRequest, events_fd: int, commands_fd: int) -> int:
    """As `finetune_trainer.child.main`; the scratch path is the name of a function below."""
    channel = Channel(events_fd, commands_fd)
    channel.phase(Phase.START)
    answer = globals()[request.scratch](channel, request)
    assert isinstance(answer, int)
    return answer


def succeed(channel: Channel, request: TrainRequest) -> int:
    """Ends with a result."""
    channel.emit(ResultEvent(result="Trained", metrics={"generation": request.generation}))
    return 0


def leave(channel: Channel, request: TrainRequest) -> int:
    """Works until told to leave."""
    while not channel.leave_requested:
        channel.tick(1, 2)
    channel.emit(ResultEvent(result="Left"))
    return 0


def save(channel: Channel, request: TrainRequest) -> int:
    """Saves whenever told to; leaves when told to stop."""
    saved = 0
    while not channel.stop_requested:
        if channel.save_requested:
            channel.clear_save()
            saved += 1
            channel.emit(TickEvent(done=saved))
    return saved


def crash(channel: Channel, request: TrainRequest) -> int:
    """An exception that nobody catches."""
    raise RuntimeError("a mistake in the training process")


def quit(channel: Channel, request: TrainRequest) -> int:
    """sys.exit in the middle."""
    sys.exit(7)


def hang(channel: Channel, request: TrainRequest) -> int:
    """Waits for what never comes."""
    channel.tick()
    return int(threading.Event().wait())


def compute(channel: Channel, request: TrainRequest) -> int:
    """Uses TensorFlow, which the zygote has imported but never run."""
    tensorflow = sys.modules["tensorflow"]
    keras = sys.modules["keras"]
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2, use_bias=False, kernel_initializer="ones")]
    )
    answer = float(tensorflow.function(model)(tensorflow.ones((1, 3)))[0, 0])
    metrics = {"answer": answer, "parent": os.getppid(), "started": runtime_has_started()}
    channel.emit(ResultEvent(result="Trained", metrics=metrics))
    return 0


def flood(channel: Channel, request: TrainRequest) -> int:
    """Many threads emit large events at once: lines must not be torn."""

    def shout(name: str) -> None:
        for _ in range(50):
            channel.phase(Phase.STEP, 0, name * 5_000)

    threads = [threading.Thread(target=shout, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0


def count_blas_threads(channel: Channel, request: TrainRequest) -> int:
    """Its status is the number of threads that scipy's linear algebra uses."""
    import scipy.linalg
    import threadpoolctl  # type: ignore[import-untyped]

    assert scipy.linalg is not None
    pools = threadpoolctl.threadpool_info()
    return max(int(pool["num_threads"]) for pool in pools if pool["user_api"] == "blas")
