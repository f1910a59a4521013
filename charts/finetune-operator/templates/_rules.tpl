{{/* Made by `make generate` from tools/chart. */ -}}
{{- define "finetune-operator.rules" -}}
- apiGroups:
  - finetune.dev
  resources:
  - finetunejobs
  verbs:
  - get
  - list
  - watch
  - delete
- apiGroups:
  - finetune.dev
  resources:
  - finetunejobs/status
  verbs:
  - patch
- apiGroups:
  - finetune.dev
  resources:
  - finetunejobs/finalizers
  verbs:
  - update
- apiGroups:
  - batch
  resources:
  - jobs
  verbs:
  - get
  - list
  - watch
  - create
  - patch
- apiGroups:
  - ''
  resources:
  - pods
  verbs:
  - list
  - watch
  - patch
- apiGroups:
  - ''
  resources:
  - services
  verbs:
  - get
  - list
  - watch
  - create
  - patch
- apiGroups:
  - ''
  resources:
  - configmaps
  verbs:
  - get
  - list
  - watch
  - create
  - patch
- apiGroups:
  - ''
  resources:
  - events
  verbs:
  - list
  - create
  - patch
{{- if dig "networkPolicy" "enabled" true .Values.config }}
- apiGroups:
  - networking.k8s.io
  resources:
  - networkpolicies
  verbs:
  - get
  - list
  - watch
  - create
  - patch
{{- end }}
{{- if dig "deadNodes" true .Values.config }}
- apiGroups:
  - ''
  resources:
  - pods/status
  verbs:
  - patch
- apiGroups:
  - ''
  resources:
  - pods
  verbs:
  - delete
{{- end }}
{{- if dig "gangs" "kueue" "enabled" false .Values.config }}
- apiGroups:
  - kueue.x-k8s.io
  resources:
  - workloads
  verbs:
  - list
  - watch
  - patch
{{- end }}
{{- if dig "gangs" "coscheduling" "enabled" false .Values.config }}
- apiGroups:
  - scheduling.x-k8s.io
  resources:
  - podgroups
  verbs:
  - get
  - create
{{- end }}
{{- if dig "gangs" "podGroup" "enabled" false .Values.config }}
- apiGroups:
  - scheduling.k8s.io
  resources:
  - podgroups
  verbs:
  - get
  - create
{{- end }}
{{- end }}

{{- define "finetune-operator.clusterRules" -}}
{{- if dig "deadNodes" true .Values.config }}
- apiGroups:
  - ''
  resources:
  - nodes
  verbs:
  - list
  - watch
{{- end }}
{{- end }}

{{- define "finetune-operator.leaseRules" -}}
- apiGroups:
  - coordination.k8s.io
  resources:
  - leases
  verbs:
  - get
  - create
  - patch
{{- end }}
