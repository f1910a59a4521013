#!/bin/sh
# Builds one of the Go programs that the tests run and prints its path:   tools/build.sh versitygw
# The binary is kept in .cache/bin under its name and version, so this costs a minute once and nothing after that.
set -eu

name=${1:?usage: tools/build.sh NAME, where tools/NAME/go.mod pins the program}
tools=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cache=${FINETUNE_TOOLS_CACHE:-$(dirname -- "$tools")/.cache/bin}
package=$(sed -n "s|^tool \(.*/$name\)\$|\1|p" "$tools/$name/go.mod")
# The required module whose path the package begins with, and its version.
version=$(awk -v package="$package" '$2 ~ /^v/ && index(package, $1 "/") == 1 { print $2 }' "$tools/$name/go.mod")
binary=$cache/$name-$version

if [ ! -x "$binary" ]; then
  command -v go >/dev/null || { echo "building $name needs Go 1.26 or newer: https://go.dev/dl" >&2; exit 1; }
  mkdir -p "$cache"
  echo "building $name $version (once)" >&2
  unfinished=$(mktemp "$cache/.$name.XXXXXX")
  trap 'rm -f "$unfinished"' EXIT
  (cd "$tools/$name" && CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags "-s -w" -o "$unfinished" "$package") >&2
  # Two builds at once end with one whole binary: each writes its own file, the last rename wins.
  mv "$unfinished" "$binary"
fi
echo "$binary"
