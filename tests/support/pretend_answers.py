"""What the operator has said about a pretended FineTuneJob so far."""

from finetune_api.v1alpha1 import FineTuneJobStatus
from pretend_cluster import PretendCluster


def conditions(cluster: PretendCluster) -> dict[str, str]:
    """The conditions by type: True, False or Unknown."""
    return {condition.type: condition.status for condition in cluster.status.conditions}


def reasons(cluster: PretendCluster) -> list[str]:
    """Of all Events, in order."""
    return [note.reason for note in cluster.notes]


def statuses(cluster: PretendCluster) -> list[FineTuneJobStatus]:
    """All that were written, in order."""
    return [one for one in cluster.writes if isinstance(one, FineTuneJobStatus)]
