"""The objects of one FineTuneJob, as literals. Pure: the same job and settings make the same objects."""

from finetune_operator.manifests.objects import children, guarded

__all__ = ["children", "guarded"]
