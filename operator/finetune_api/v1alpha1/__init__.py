"""FineTuneJob, version v1alpha1: what a user writes and what the operator answers.

Every model is frozen and strict. The CRD is generated from these classes, so each field has bounds and a
docstring with meaning, default and an example.
"""

from finetune_api.v1alpha1.data import Augmentation, DataSpec, Validation
from finetune_api.v1alpha1.job import FineTuneJob, FineTuneJobSpec, Metadata
from finetune_api.v1alpha1.model import Head, ModelSpec
from finetune_api.v1alpha1.output import Checkpoint, FeatureCache, ModelFormat, Output, Storage
from finetune_api.v1alpha1.runtime import Placement, Resources, Scheduling, Toleration
from finetune_api.v1alpha1.stages import EarlyStopping, LrSchedule, Optimizer, Stage, StopWhen, Unfreeze
from finetune_api.v1alpha1.status import (
    Artifacts,
    Condition,
    FineTuneJobStatus,
    JobPhase,
    LastFailure,
    MetricValue,
    StageStatus,
    Summary,
    WorkersStatus,
)

__all__ = [
    "Artifacts",
    "Augmentation",
    "Checkpoint",
    "Condition",
    "DataSpec",
    "EarlyStopping",
    "FeatureCache",
    "FineTuneJob",
    "FineTuneJobSpec",
    "FineTuneJobStatus",
    "Head",
    "JobPhase",
    "LastFailure",
    "LrSchedule",
    "Metadata",
    "MetricValue",
    "ModelFormat",
    "ModelSpec",
    "Optimizer",
    "Output",
    "Placement",
    "Resources",
    "Scheduling",
    "Stage",
    "StageStatus",
    "StopWhen",
    "Storage",
    "Summary",
    "Toleration",
    "Unfreeze",
    "Validation",
    "WorkersStatus",
]
