{{/* The chart's name, as in labels. */}}
{{- define "finetune-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Names of objects. Releases may have dots and begin with a digit, Services may not; 50 leaves room for what is added. */}}
{{- define "finetune-operator.fullname" -}}
{{- $name := .Release.Name -}}
{{- if .Values.fullnameOverride -}}
{{- $name = .Values.fullnameOverride -}}
{{- else if not (contains (include "finetune-operator.name" .) .Release.Name) -}}
{{- $name = printf "%s-%s" .Release.Name (include "finetune-operator.name" .) -}}
{{- end -}}
{{- regexReplaceAll "^([0-9])" ($name | replace "." "-") "ft-$1" | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* Names of objects without a namespace: two releases of one name are two. */}}
{{- define "finetune-operator.clusterName" -}}
{{- printf "%s-%s" (include "finetune-operator.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "finetune-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "finetune-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Of the operator's pods alone; those of `helm test` have the selectorLabels too. */}}
{{- define "finetune-operator.operatorLabels" -}}
{{ include "finetune-operator.selectorLabels" . }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "finetune-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "finetune-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "finetune-operator.serviceAccountName" -}}
{{- $default := ternary (include "finetune-operator.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $default .Values.serviceAccount.name -}}
{{- end -}}

{{/* registry/repository:tag@digest of (dict "root" $ "image" … "tag" default). */}}
{{- define "finetune-operator.image" -}}
{{- with default .root.Values.global.imageRegistry .image.registry }}{{ . | trimSuffix "/" }}/{{ end -}}
{{- .image.repository }}:{{ default .tag .image.tag -}}
{{- with .image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* Names of secrets as Kubernetes wants them in a pod. */}}
{{- define "finetune-operator.imagePullSecrets" -}}
{{- range concat .Values.global.imagePullSecrets .Values.imagePullSecrets | uniq }}
- name: {{ . }}
{{- end }}
{{- end -}}

{{/* Labels of the namespaces that Prometheus may be in, as YAML; {} for none. */}}
{{- define "finetune-operator.monitoringSelector" -}}
{{- $byName := dict -}}
{{- with .Values.monitoring.namespace }}{{ $byName = dict "kubernetes.io/metadata.name" . }}{{ end -}}
{{- default $byName .Values.monitoring.namespaceSelector | toYaml -}}
{{- end -}}

{{/* The operator's settings file: `config`, and what other values say. */}}
{{- define "finetune-operator.config" -}}
{{- $cpu := dict "root" . "image" .Values.trainer.images.cpu "tag" (printf "%s-cpu" .Chart.AppVersion) -}}
{{- $gpu := dict "root" . "image" .Values.trainer.images.gpu "tag" (printf "%s-gpu" .Chart.AppVersion) -}}
{{- $trainer := dict
  "images" (dict "cpu" (include "finetune-operator.image" $cpu) "gpu" (include "finetune-operator.image" $gpu))
  "imagePullSecrets" (concat .Values.global.imagePullSecrets .Values.trainer.imagePullSecrets | uniq) -}}
{{- $monitoring := include "finetune-operator.monitoringSelector" . | fromYaml -}}
{{- $more := dict
  "namespaces" .Values.watch.namespaces
  "lease" (dict "name" (include "finetune-operator.fullname" .))
  "trainer" $trainer
  "networkPolicy" (dict "monitoringNamespaceSelector" $monitoring)
  "workloadIdentity" .Values.workloadIdentity -}}
{{- mergeOverwrite (deepCopy .Values.config) $more | toYaml -}}
{{- end -}}
