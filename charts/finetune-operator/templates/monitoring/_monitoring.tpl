{{/* "yes" if the cluster has this kind of the Prometheus operator, or the values say that it will have. */}}
{{- define "finetune-operator.monitored" -}}
{{- if or (eq .root.Values.monitoring.renderMode "always") (.root.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" .kind)) -}}
yes
{{- end -}}
{{- end -}}
