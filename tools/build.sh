#!/bin/sh
# Builds the Go programs of one folder here and prints the folder that holds them:   tools/build.sh versitygw
# They stay in .cache/bin under the name, the version and a mark of what they are built from, so this costs minutes
# once and nothing after that.
set -eu

name=${1:?usage: tools/build.sh NAME, where tools/NAME/go.mod pins the programs}
tools=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cache=${FINETUNE_TOOLS_CACHE:-$(dirname -- "$tools")/.cache/bin}
cd "$tools/$name"

# What go.mod calls `tool`, one a line; the module that the first of them comes from, and its version.
programs=$(awk '/^tool \(/ { inside = 1; next } /^\)/ { inside = 0 } /^tool / { print $2 } inside { print $1 }' go.mod)
version=$(awk -v program="$(echo "$programs" | grep -v '^finetune.dev/' | head -n 1)" '
  { sub(/^require /, "") } $2 ~ /^v/ && index(program "/", $1 "/") == 1 { print $2; exit }' go.mod)
mark=$(cat go.mod "$tools/build.sh" $(find . -name '*.go' | sort) | grep -v '^ *\(//\|#\)' | sha256sum | cut -c 1-8)
folder=$cache/$name-$version-$mark

# kubectl and Helm charts ask Kubernetes for its version.
stamps=
if [ "$name" = kubernetes ] || [ "$name" = kubelet ]; then
  major=${version%%.*} minor=${version#*.}
  for stamp in "gitVersion=$version" "gitMajor=${major#v}" "gitMinor=${minor%%.*}" gitTreeState=clean; do
    stamps="$stamps -X k8s.io/component-base/version.$stamp"
  done
fi

if [ ! -d "$folder" ]; then
  command -v go >/dev/null || { echo "building $name needs Go 1.26 or newer: https://go.dev/dl" >&2; exit 1; }
  mkdir -p "$cache"
  echo "building $name $version (once)" >&2
  unfinished=$(mktemp -d "$cache/.$name.XXXXXX")
  trap 'rm -rf "$unfinished"' EXIT
  # A single program takes the folder's name: etcd's own is `server`.
  target=$unfinished/
  [ "$(echo "$programs" | wc -l)" != 1 ] || target=$unfinished/$name
  GOFLAGS=-mod=readonly CGO_ENABLED=0 go build -trimpath -ldflags "-s -w$stamps" -o "$target" tool >&2
  chmod 755 "$unfinished"
  # Two builds at once end with one whole folder: the first rename wins.
  mv -T "$unfinished" "$folder" 2>/dev/null || [ -d "$folder" ]
fi
echo "$folder"
