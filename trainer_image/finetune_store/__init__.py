"""Object storage: the run folder, checkpoints and the publish protocol, on S3, GCS, Azure or local files.

Knows nothing of TensorFlow or Kubernetes. Every error of a storage library is translated here into one
of `finetune_api.errors`.
"""
