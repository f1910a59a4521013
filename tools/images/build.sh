#!/usr/bin/env bash
# Builds one image and prints its reference:
#   tools/images/build.sh operator
#   tools/images/build.sh trainer [--device cpu|gpu]
# What did not change comes from the engine's layers. Settings: lib.sh. PIP_INDEX_URL names a mirror of the Python
# package index, SSL_CERT_FILE the certificates of a network that has its own.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

main() {
  local target=${1:-} device=cpu reference base
  [ "${2:-}" != --device ] || device=${3:-}
  case $target/$device in
    operator/cpu) reference=finetune-operator:$(version) ;;
    trainer/cpu | trainer/gpu) reference=finetune-trainer:$(version)-$device ;;
    *) fail "usage: tools/images/build.sh operator | trainer [--device cpu|gpu]" ;;
  esac
  [ "$(engine)" = docker ] || need buildah buildah
  # One at a time: two builds would make the same layers.
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock 9
  base=$("$here/base.sh")
  say "building $reference on $base with $(engine)"
  arguments=(--target "$target" --build-arg "BASE_IMAGE=$base" --build-arg "DEVICE=$device"
    --build-arg "VERSION=$(version)" --build-arg "REVISION=$(revision)" --build-arg "SOURCE=${IMAGE_SOURCE:-}"
    --tag "$reference" --file "$top/Dockerfile")
  [ -z "${PIP_INDEX_URL:-}" ] || arguments+=(--build-arg "PIP_INDEX_URL=$PIP_INDEX_URL")
  [ ! -f "${SSL_CERT_FILE:-}" ] || arguments+=(--secret "id=ca,src=$SSL_CERT_FILE")
  build
  say "$reference: $(size "$reference"), $(digest "$reference")"
  echo "$reference"
}

build() {
  # The daemon's and buildah's own words are of interest only when something fails, but a download may take minutes.
  if [ "$(engine)" = docker ]; then
    DOCKER_BUILDKIT=1 docker build "${arguments[@]}" "$top" >&2
  else
    in_cache build --layers --isolation chroot --format docker "${arguments[@]}" "$top" >&2
  fi
}

revision() {
  local changed
  changed=$(git -C "$top" status --porcelain 2>/dev/null) || { echo unknown && return; }
  echo "$(git -C "$top" rev-parse HEAD)${changed:+-modified}"
}

size() {
  if [ "$(engine)" = docker ]; then echo "$(($(docker image inspect --format '{{.Size}}' "$1") / 1000000)) MB"
  else in_cache images --format '{{.Size}}' "$(local_name "$1")"; fi
}

main "$@"
