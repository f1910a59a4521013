"""Sentences for stories about a gang."""

from finetune_api.events import ResultEvent
from finetune_supervisor.happenings import BecameReady, Happening, Joined, ProcessEnded
from finetune_supervisor.messages import Ended, Ending, Outcome

PUBLISHED = ResultEvent(result="Published", model_uri="s3://models/1", version=1)
KILLED = Outcome(
    ending=Ending.FAILED, code=137, reason="Killed", message="It was killed.", step=7, advanced=True
)
PEER_LOST = Outcome(ending=Ending.FAILED, code=75, reason="PeerLost", message="Socket closed.")
BAD_DATA = Outcome(ending=Ending.FAILED, code=65, reason="BadImages", message="All images are bad.")
STOPPED = Outcome(ending=Ending.STOPPED)
LEFT = Outcome(ending=Ending.LEFT)
TRAINED = Outcome(ending=Ending.TRAINED)


def ended(worker: int, outcome: Outcome, generation: int = 1) -> ProcessEnded:
    """A worker's training process was reaped."""
    return ProcessEnded(worker, Ended(generation=generation, outcome=outcome))


def arrived(*workers: int) -> list[Happening]:
    """These workers joined and became ready."""
    return [happening for worker in workers for happening in (Joined(worker), BecameReady(worker))]
