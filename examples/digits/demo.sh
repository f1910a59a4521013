#!/bin/sh
# The whole demo: real images, real ImageNet weights, two real workers, a verified SavedModel.
# PYTHON names the interpreter that has the project's packages; arguments go to `finetune run`.
set -eu
PYTHON=${PYTHON:-python3}
here=$(dirname "$0")
cd "$here/../.."
export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-3}"
"$PYTHON" examples/digits/make_data.py demo-output/images
"$PYTHON" -m finetune_trainer.lite_weights EfficientNetLite0
exec "$PYTHON" -m finetune_cli run examples/digits/job.yaml "$@"
