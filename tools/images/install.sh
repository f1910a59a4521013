#!/bin/sh
# Runs while an image is built, see Dockerfile.
#   install.sh FOLDER LOCK    what the lock names, by hash and as wheels only, into a virtual environment
#   install.sh project        the project in the current folder, alone, into /opt/finetune
set -eu

main() {
  [ ! -s /run/secrets/ca ] || export PIP_CERT=/run/secrets/ca
  if [ "$1" = project ]; then
    # Built by what the lock holds, so nothing is fetched.
    /opt/build/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir dist .
    install_into /opt/finetune --no-index dist/*.whl
    # The command line is for people's machines; its packages are not here.
    rm -f /opt/finetune/bin/finetune /opt/finetune/bin/kubectl-finetune
  else
    install_into "$1" --only-binary :all: --require-hashes --requirement "$2"
  fi
  [ "$1" = /opt/build ] || slim /opt/finetune/lib/python3*/site-packages
}

install_into() {
  folder=$1
  shift
  [ -d "$folder" ] || python3 -m venv --without-pip "$folder"
  /opt/build/bin/pip --python "$folder/bin/python" install --no-deps --no-compile --progress-bar off "$@"
}

# What a running container never reads: headers, tests, the symbol tables of TensorFlow (200 MB), and libclang, which
# TensorFlow names as a dependency and does not import. NVIDIA's libraries stay as they are: their licence wants that.
slim() {
  site=$1
  /opt/build/bin/pip --python /opt/finetune/bin/python uninstall --quiet --yes libclang
  rm -rf "$site/tensorflow/include"
  find "$site" -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +
  find "$site" -name '*.a' -exec rm {} +
  [ ! -d "$site/tensorflow" ] || find "$site/tensorflow" -name '*.so*' -type f -exec strip --strip-unneeded {} +
  # The root file system is read-only, so what is not compiled now is compiled at every start. Unchecked: the sources
  # never change, whatever their dates say. Of the Kubernetes client's models none is ever imported.
  python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash -x 'kubernetes/(aio/)?client/(api|models)/[^_]' "$site"
}

main "$@"
