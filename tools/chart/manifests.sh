#!/bin/sh
# Prints the chart as plain manifests for `kubectl apply -f`:   tools/chart/manifests.sh [helm's options, --set …]
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
helm=$("$root/tools/build.sh" helm)/helm
cat <<END
apiVersion: v1
kind: Namespace
metadata:
  name: finetune-system
  labels:
    pod-security.kubernetes.io/enforce: restricted
END
exec "$helm" template finetune-operator "$root/charts/finetune-operator" \
  --namespace finetune-system --no-hooks --kube-version 1.31 "$@"
