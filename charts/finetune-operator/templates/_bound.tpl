{{/* A role and who has it, of (dict "root" $ "suffix" … "namespace" … or none: everywhere, "rules" … "subject" …). */}}
{{- define "finetune-operator.bound" }}
{{- $kind := ternary "Role" "ClusterRole" (hasKey . "namespace") }}
{{- $name := printf "%s%s" (include "finetune-operator.fullname" .root) .suffix }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  name: {{ $name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "finetune-operator.labels" .root | nindent 4 }}
rules:
{{ .rules }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  name: {{ $name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "finetune-operator.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ $name }}
subjects:
- {{- toYaml .subject | nindent 2 }}
{{- end }}
