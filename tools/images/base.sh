#!/usr/bin/env bash
# Prints the reference of the image that ours stand on, and sees to it that it is there.
#
# Where no registry answers, it is made of Debian's packages: Python 3.11, its venv module and CA certificates. Root, on
# Debian or anything that has mmdebstrap; a minute once. Delete .cache/images/base for newer packages.
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

PUBLISHED=python:3.11-slim
SUITE=bookworm

main() {
  local made
  made=finetune-base:$(mark <"$here/base.sh")
  if [ -n "${FINETUNE_BASE_IMAGE:-}" ]; then
    echo "$FINETUNE_BASE_IMAGE"
  elif has_image "$(local_name "$made")"; then
    local_name "$made"
  elif has_image "$PUBLISHED" || pull; then
    echo "$PUBLISHED"
  else
    say "no registry answers: making a base image of Debian's packages (once, about a minute)"
    make_image "$made"
    local_name "$made"
  fi
}

pull() {
  if [ "$(engine)" = docker ]; then timeout 600 docker pull --quiet "$PUBLISHED"
  else LIMIT=60 in_cache pull --quiet "$PUBLISHED"; fi >/dev/null 2>&1
}

make_image() {
  local packed=$cache/base/${1#*:}.tar
  if [ ! -f "$packed" ]; then
    need mmdebstrap mmdebstrap
    [ -f /usr/share/keyrings/debian-archive-keyring.gpg ] || need debian-archive-keyring debian-archive-keyring
    mkdir -p "$cache/base"
    pack "$packed.part"
    mv "$packed.part" "$packed"
  fi
  if [ "$(engine)" = docker ]; then docker import "$packed" "$1" >/dev/null
  else import_into_cache "$packed" "$1"; fi
}

# Neither documentation nor translations; copyright files stay. A merged /usr from the start saves the package that would
# merge it, and 50 MB of Perl. What mmdebstrap takes from this machine is taken out.
pack() {
  mmdebstrap --quiet --format=tar --variant=minbase --include=usr-is-merged,python3,python3-venv,ca-certificates \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --customize-hook='rm -f "$1"/etc/hostname "$1"/etc/resolv.conf && : >"$1"/etc/machine-id' \
    "$SUITE" "$1" >&2
}

import_into_cache() {
  local container
  container=$(in_cache from scratch)
  in_cache add --quiet "$container" "$1" / >/dev/null
  in_cache commit --quiet --rm "$container" "$2" >/dev/null
}

main
