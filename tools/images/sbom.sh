#!/usr/bin/env bash
# Writes the bill of materials of images that build.sh built, as SPDX, and prints digest and file of each:
#   tools/images/sbom.sh [REFERENCE...]       default: those of this version that are there
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

main() {
  if [ $# = 0 ]; then
    for reference in "finetune-operator:$(version)" "finetune-trainer:$(version)"-{cpu,gpu}; do
      ! has_image "$(local_name "$reference")" || set -- "$@" "$reference"
    done
  fi
  [ $# -gt 0 ] || fail "no image of version $(version) here: make images"
  syft=$("$top/tools/build.sh" syft)/syft
  mkdir -p "$cache/sbom" "$cache/tmp"
  work=$(mktemp -d "$cache/tmp/sbom.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  for reference; do
    describe "$reference" "$cache/sbom/${reference//[:\/]/-}.spdx.json"
  done
}

describe() {
  "$here/save.sh" "$1" >"$work/image.tar"
  TMPDIR=$work SYFT_CHECK_FOR_APP_UPDATE=false "$syft" scan --quiet \
    --source-name "${1%%:*}" --source-version "${1#*:}" --output "spdx-json=$2" "docker-archive:$work/image.tar"
  say "$1 $(digest "$1"): $(grep -o '"referenceType": *"purl"' "$2" | wc -l) packages"
  echo "$2"
}

main "$@"
