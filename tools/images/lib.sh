# What the scripts here share: which engine builds, where its things lie, and how images are called. Sourced by bash.
#   FINETUNE_ENGINE        docker or buildah; default: docker where its daemon answers, else buildah
#   FINETUNE_BASE_IMAGE    the base image; default: python:3.11-slim where it can be had, else one made of Debian's packages
#   FINETUNE_IMAGES_CACHE  where buildah keeps its layers; default: .cache/images

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
top=$(dirname -- "$(dirname -- "$here")")
cache=${FINETUNE_IMAGES_CACHE:-$top/.cache/images}

say() { echo "$*" >&2; }

fail() {
  say "$*"
  exit 1
}

# need PROGRAM PACKAGE: installs Debian's package where that is allowed and possible.
need() {
  ! command -v "$1" >/dev/null || return 0
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null \
    || fail "needs $1; as root on Debian this script installs it, elsewhere: install $2"
  say "installing $2"
  { apt-get update && apt-get install --yes --no-install-recommends "$2"; } >&2
}

engine() {
  if [ -n "${FINETUNE_ENGINE:-}" ]; then
    echo "$FINETUNE_ENGINE"
  elif command -v docker >/dev/null && docker info >/dev/null 2>&1; then
    echo docker
  else
    echo buildah
  fi
}

# buildah with its layers in the cache, so that `make clean` takes them away too. Its runtime state goes where a reboot
# clears it; that path is the cache's own.
in_cache() {
  mkdir -p "$cache/tmp"
  [ -f "$cache/driver" ] || storage_driver >"$cache/driver"
  TMPDIR=$cache/tmp timeout "${LIMIT:-infinity}" buildah --root "$cache/storage" --runroot "/run/finetune-$(mark <<<"$cache")" \
    --storage-driver "$(cat "$cache/driver")" "$@"
}

# overlay is quick; it does not work everywhere, such as on top of another overlay.
storage_driver() {
  local probe
  probe=$(mktemp -d "$cache/tmp/probe.XXXXXX")
  mkdir "$probe"/{lower,upper,work,all}
  if mount -t overlay -o "lowerdir=$probe/lower,upperdir=$probe/upper,workdir=$probe/work" none "$probe/all" 2>/dev/null; then
    umount "$probe/all"
    echo overlay
  else
    echo vfs
  fi
  rm -rf "$probe"
}

# The first characters of a digest of what comes in.
mark() { sha256sum | cut -c 1-12; }

has_image() {
  if [ "$(engine)" = docker ]; then docker image inspect "$1" >/dev/null 2>&1
  else in_cache inspect --type image "$1" >/dev/null 2>&1; fi
}

# buildah says localhost to what has no host.
local_name() {
  if [ "$(engine)" = docker ]; then echo "$1"; else echo "localhost/$1"; fi
}

# The digest of an image's configuration: the same here, in an archive and on a node. (A manifest's digest is made by the
# registry that an image is pushed to.)
digest() {
  if [ "$(engine)" = docker ]; then docker image inspect --format '{{.Id}}' "$1"
  else in_cache inspect --type image --format 'sha256:{{.FromImageID}}' "$(local_name "$1")"; fi
}

version() { sed -n 's/^version = "\(.*\)"$/\1/p' "$top/pyproject.toml" | head -n 1; }
