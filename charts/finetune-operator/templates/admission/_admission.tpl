{{/* Binds the policy <clusterName>-<suffix> of (dict "root" $ "suffix" …); of the author's one only where jobs are run. */}}
{{- define "finetune-operator.policyBinding" }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ include "finetune-operator.clusterName" .root }}-{{ .suffix }}
  labels:
    {{- include "finetune-operator.labels" .root | nindent 4 }}
spec:
  policyName: {{ include "finetune-operator.clusterName" .root }}-{{ .suffix }}
  validationActions: [Deny]
  {{- if and (eq .suffix "requester") .root.Values.watch.namespaces }}
  matchResources:
    namespaceSelector:
      matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: In
        values: {{ toJson .root.Values.watch.namespaces }}
  {{- end }}
{{- end }}

{{/* A policy looks at what the operator's service account does, at nothing else. */}}
{{- define "finetune-operator.ofOperator" -}}
- name: of-the-operator
  expression: request.userInfo.username == 'system:serviceaccount:{{ .Release.Namespace }}:{{ include "finetune-operator.serviceAccountName" . }}'
{{- end }}

{{/* CEL: whether (dict "value" expression "lists" names by namespace) is listed; the same rule as in the operator. */}}
{{- define "finetune-operator.listed" -}}
{{- $value := .value -}}
{{- $lists := toJson .lists -}}
({{ $value }} == '' || !(request.namespace in {{ $lists }} || '*' in {{ $lists }}) || (request.namespace in {{ $lists }} ? {{ $lists }}[request.namespace] : {{ $lists }}['*']).exists(one, one.endsWith('*') ? {{ $value }}.startsWith(one.replace('*', '')) : {{ $value }} == one))
{{- end }}

{{/* config.references.<what> of (dict "root" $ "what" …), as JSON. */}}
{{- define "finetune-operator.references" -}}
{{- $config := include "finetune-operator.config" .root | fromYaml -}}
{{- dig "references" .what (dict) $config | toJson -}}
{{- end }}
