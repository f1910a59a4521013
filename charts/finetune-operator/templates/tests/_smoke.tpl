{{- define "finetune-operator.testName" -}}
{{ include "finetune-operator.fullname" . }}-test
{{- end -}}

{{/* Annotations of what `helm test` makes and takes away again. */}}
{{- define "finetune-operator.testHook" -}}
helm.sh/hook: test
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/* Where the test's job is. */}}
{{- define "finetune-operator.testNamespace" -}}
{{- default (first (append .Values.watch.namespaces .Release.Namespace)) .Values.tests.job.namespace -}}
{{- end -}}

{{/* A small job of two stages. */}}
{{- define "finetune-operator.testJob" -}}
{{- $job := .Values.tests.job -}}
{{- $storage := dict -}}
{{- with $job.secretName }}{{ $storage = dict "secretName" . }}{{ end -}}
{{- $spec := dict
  "model" (dict "backbone" "MobileNetV2" "alpha" 0.35 "imageSize" 96 "weights" "none")
  "data" (dict "train" (default "s3://example/train" $job.train))
  "globalBatchSize" 8
  "stages" (list
    (dict "name" "head" "unfreeze" (dict "blocks" 0) "epochs" 1)
    (dict "name" "finetune" "unfreeze" (dict "blocks" 1) "epochs" 1))
  "storage" $storage
  "output" (dict "uri" (default "s3://example/models" $job.output))
  "featureCache" (dict "maxBytes" "1Gi") -}}
{{- mergeOverwrite $spec (deepCopy $job.spec) | toPrettyJson -}}
{{- end -}}
