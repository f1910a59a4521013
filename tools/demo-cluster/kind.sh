#!/usr/bin/env bash
# The demo cluster with kind, where a Docker engine runs:   tools/demo-cluster/kind.sh up|down
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
top=$(dirname -- "$(dirname -- "$here")")
name=finetune-demo

up() {
  operator=$("$top/tools/images/build.sh" operator)
  trainer=$("$top/tools/images/build.sh" trainer)
  kind get clusters | grep -qx "$name" || kind create cluster --name "$name" --wait 2m
  kind load docker-image --name "$name" "$operator" "$trainer"
  helm=$("$top/tools/build.sh" helm)/helm
  "$helm" upgrade --install finetune "$top/charts/finetune-operator" --kube-context "kind-$name" \
    --namespace finetune-system --create-namespace --set config.trainer.imagePullPolicy=IfNotPresent --wait
  cat <<END

A kind cluster with finetune-operator is up; it has no object store of its own, so name one in the job.

  kubectl --context kind-$name apply -f job.yaml
  kubectl --context kind-$name get ftj -w
  kubectl --context kind-$name get ftj NAME -o jsonpath='{.status.artifacts.modelURI}'      # where the model is

\`make demo-cluster-down\` takes everything away.
END
}

down() { kind delete cluster --name "$name"; }

case ${1:-} in
  up | down) "$1" ;;
  *) echo "usage: tools/demo-cluster/kind.sh up|down" >&2; exit 2 ;;
esac
