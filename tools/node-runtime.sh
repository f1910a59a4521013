#!/bin/sh
# containerd, runc, the CNI plugins, iptables and ipset out of Debian's packages, unpacked into .cache/bin and not
# installed; prints the folder:   tools/node-runtime.sh
set -eu

packages="containerd runc containernetworking-plugins"
# With the libraries of their own: what this machine has may be of another version.
packages="$packages iptables libxtables12 libip4tc2 libip6tc2 libnftnl11 libmnl0 libnfnetlink0 libnetfilter-conntrack3"
packages="$packages ipset libipset13"
tools=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cache=${FINETUNE_TOOLS_CACHE:-$(dirname -- "$tools")/.cache/bin}

candidates() {
  # shellcheck disable=SC2086
  apt-cache policy $packages | awk '/Candidate:/ && $2 != "(none)" { print $2 }'
}

wanted=$(echo "$packages" | wc -w)
[ "$(candidates | wc -l)" = "$wanted" ] || apt-get update --quiet=2 >&2
[ "$(candidates | wc -l)" = "$wanted" ] || { echo "apt knows no $packages: this needs Debian or Ubuntu" >&2; exit 1; }
folder=$cache/node-runtime-$(candidates | sha256sum | cut -c 1-8)

if [ ! -d "$folder" ]; then
  echo "unpacking $packages (once)" >&2
  mkdir -p "$cache"
  unfinished=$(mktemp -d "$cache/.node-runtime.XXXXXX")
  trap 'rm -rf "$unfinished"' EXIT
  cd "$unfinished"
  # shellcheck disable=SC2086
  apt-get download --quiet=2 $packages >&2 || { apt-get update --quiet=2 >&2; apt-get download --quiet=2 $packages >&2; }
  for package in *.deb; do dpkg-deb --extract "$package" .; done
  rm -- *.deb
  # Debian's names for them are links that only an installation makes.
  mkdir filter
  for name in iptables iptables-save iptables-restore; do ln -s ../usr/sbin/xtables-nft-multi "filter/$name"; done
  ln -s ../usr/sbin/ipset filter/ipset
  chmod 755 "$unfinished"
  mv -T "$unfinished" "$folder" 2>/dev/null || [ -d "$folder" ]
fi
echo "$folder"
