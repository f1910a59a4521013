#!/usr/bin/env bash
# The trainer's image with a file of ImageNet weights in it:   tools/demo-cluster/weights.sh IMAGE NEW-IMAGE FILE
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/../images/lib.sh"

trainer=$1 reference=$2 file=$3
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
install -m 644 "$file" "$context/efficientnetlite0_notop.weights.h5"
arguments=(--build-arg "TRAINER=$(local_name "$trainer")" --file "$top/examples/digits/Dockerfile" --tag "$reference")
if [ "$(engine)" = docker ]; then
  docker build --quiet "${arguments[@]}" "$context" >&2
else
  in_cache build --quiet --layers --isolation chroot --format docker "${arguments[@]}" "$context" >&2
fi
echo "$reference"
