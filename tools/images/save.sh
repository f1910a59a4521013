#!/usr/bin/env bash
# Writes an image that build.sh built to standard output, as an archive for `docker load` or `ctr images import -`:
#   tools/images/save.sh finetune-operator:0.1.0 | ctr -n k8s.io images import -
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

reference=${1:?usage: tools/images/save.sh REFERENCE}
if [ "$(engine)" = docker ]; then
  exec docker save "$reference"
fi
in_cache push --quiet "$(local_name "$reference")" "docker-archive:/dev/stdout:$reference"
