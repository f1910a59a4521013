#!/bin/sh
# Fetches Debian's package of Prometheus, without installing it, and prints the folder with `prometheus` and `promtool`.
# They stay in .cache/bin under the package's version, so this needs the network once.
set -eu

tools=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cache=${FINETUNE_TOOLS_CACHE:-$(dirname -- "$tools")/.cache/bin}

newest() {
  find "$cache" -maxdepth 1 -name 'prometheus-[0-9]*' 2>/dev/null | sort -V | tail -n 1
}

candidate() {
  apt-cache show --no-all-versions prometheus 2>/dev/null | sed -n 's/^Version: //p'
}

if [ -z "$(newest)" ]; then
  command -v apt-get dpkg-deb >/dev/null || { echo "Prometheus comes from Debian's packages: needs apt-get" >&2; exit 1; }
  if [ -z "$(candidate)" ] && [ "$(id -u)" = 0 ]; then
    apt-get update --quiet --quiet >&2
  fi
  version=$(candidate)
  [ -n "$version" ] || { echo "apt-get knows no package prometheus: run apt-get update as root" >&2; exit 1; }
  echo "fetching prometheus $version (once)" >&2
  mkdir -p "$cache"
  unfinished=$(mktemp -d "$cache/.prometheus.XXXXXX")
  trap 'rm -rf "$unfinished"' EXIT
  chmod 755 "$unfinished"
  # In a folder that apt's own user may not enter, root downloads as root.
  (cd "$unfinished" && apt-get download --quiet --quiet -o APT::Sandbox::User=root prometheus >&2)
  dpkg-deb --fsys-tarfile "$unfinished"/prometheus_*.deb \
    | tar --extract --directory "$unfinished" --strip-components 3 ./usr/bin/prometheus ./usr/bin/promtool
  rm "$unfinished"/*.deb
  # Two at once end with one whole folder: the first rename wins.
  folder=$cache/prometheus-$(echo "$version" | tr -c 'A-Za-z0-9.\n' '-')
  mv -T "$unfinished" "$folder" 2>/dev/null || [ -d "$folder" ]
fi
newest
