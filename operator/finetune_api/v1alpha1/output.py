"""Where results go and how storage is reached: `spec.output`, `spec.storage`, and speed and safety on the
way."""

from typing import Annotated, Literal

from pydantic import Field

from finetune_api.v1alpha1.fields import Duration, Fraction, LabelValue, ObjectName, Quantity, Uri, Url, Word
from finetune_api.v1alpha1.schema import Model, Rule, in_object_store, reachable_by_pods


class FeatureCache(Model):
    """Outputs of frozen layers, kept on local disk: a matter of speed only, never of the result."""

    mode: Literal["Auto", "Enabled", "Disabled"] = "Auto"
    """Auto keeps them where they are used again and fit. Default Auto."""
    max_bytes: Quantity = "20Gi"
    """Most disk space of all workers together; each holds its share. Default 20Gi."""


class Checkpoint(Model):
    """What a run can go on from after a loss."""

    interval: Duration = "60s"
    """Time between two checkpoints; one is also made at each end of a stage and before a worker leaves.
    Default 60s."""
    keep: Annotated[int, Field(ge=1, le=100)] = 2
    """How many to keep, besides the best. Default 2."""
    retain: bool = False
    """Keep them after the model is published. Default false."""
    warm_start_from: Uri | None = None
    """Checkpoint or published model of an earlier job to start from."""

    rules = (in_object_store("warmStartFrom"),)


class ModelFormat(Model):
    """One form of the finished model."""

    kind: Literal["SavedModel", "TFLite", "Keras", "Features"] = "SavedModel"
    """SavedModel serves encoded images, pixels and features, and is always written; TFLite is a file for phones and
    boards; Features is the backbone up to one layer. Default SavedModel."""
    quantization: Literal["Float32", "Float16", "Int8"] | None = None
    """Of TFLite: Float16 halves the file, Int8 computes in integers and quarters it. Default Float32."""
    layer: Word | None = None
    """Of Features: the layer whose output is wanted, such as block4_pool."""

    rules = (
        Rule(
            "only TFLite has a quantization: remove it",
            lambda f: f.quantization is None or f.kind == "TFLite",
            "!has(self.quantization) || self.kind == 'TFLite'",
            "quantization",
        ),
        Rule(
            "kind Features needs a layer, whose output it gives; other kinds have none",
            lambda f: (f.layer is not None) == (f.kind == "Features"),
            "has(self.layer) == (self.kind == 'Features')",
            "layer",
        ),
    )


class Report(Model):
    """The report page."""

    images: bool = True
    """Show example images in it; turn off where they are confidential. Default true."""


class Output(Model):
    """Where the model goes and what is written."""

    uri: Uri
    """Folder for results, in <namespace>/<name>/, and for the run's own state in .run/: s3:// gs:// az://, a
    path on a laptop, or a path inside volumeClaimName; such as s3://models/team-a. Required."""
    volume_claim_name: ObjectName | None = None
    """PersistentVolumeClaim of the job's namespace that the path lies in; needs ReadWriteMany with several
    workers."""
    select: Literal["Best", "Last"] = "Best"
    """Publish the best weights of all stages by val_accuracy, or the last. Default Best."""
    formats: list[ModelFormat] = Field(default=[ModelFormat()], min_length=1, max_length=8)
    """What to write. Default [{kind: SavedModel}]."""
    keep_versions: Annotated[int, Field(ge=1, le=1000)] = 5
    """How many published versions to keep; older ones are removed after a publish, but never the one that latest.json
    names. Default 5."""
    max_accuracy_drop: Fraction = 0.01
    """A TFLite file whose accuracy is lower than the trained model's by more than this is left out, with a
    warning. Default 0.01."""
    report: Report = Report()
    """The report page."""

    rules = (reachable_by_pods("uri"),)


class Storage(Model):
    """How object storage is reached."""

    secret_name: ObjectName | None = None
    """Secret of the job's namespace with accessKeyId and secretAccessKey, gcs.json, or azureAccount and
    azureKey or sas; optionally ca.crt. Default: the pod's own identity; on a laptop the environment's."""
    endpoint: Url | None = None
    """URL of an S3 service that is not Amazon's, such as http://minio:9000."""
    region: LabelValue | None = None
    """Region of the bucket, such as eu-central-1."""
    ca_config_map: ObjectName | None = None
    """ConfigMap of the job's namespace whose ca.crt signs the endpoint's certificate."""
