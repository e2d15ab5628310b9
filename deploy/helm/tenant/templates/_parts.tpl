{{- define "tenant.ports" -}}
- {name: http, port: 8080, targetPort: http, appProtocol: http}
- {name: grpc, port: 8081, targetPort: grpc, appProtocol: kubernetes.io/h2c}
{{- end -}}

{{/* What an autoscaler does; takes a dict of root and least. */}}
{{- define "tenant.scaling" -}}
minReplicas: {{ .least }}
maxReplicas: {{ max .least .root.Values.autoscaling.maxReplicas }}
metrics:
  - type: Resource
    resource:
      name: cpu
      target: {type: Utilization, averageUtilization: {{ .root.Values.autoscaling.targetCPU }}}
behavior:
  scaleDown:
    stabilizationWindowSeconds: 300
{{- end -}}

{{- define "tenant.parents" -}}
- name: {{ .Values.gateway.name }}
  {{- with .Values.gateway.namespace }}
  namespace: {{ . }}
  {{- end }}
  {{- with .Values.gateway.sectionName }}
  sectionName: {{ . }}
  {{- end }}
{{- end -}}

{{/* Paths of REST. Not "/": metrics and documents of the process are nobody's outside. */}}
{{- define "tenant.paths" -}}
{{- $own := printf "/tenants/%s" .Values.tenant -}}
{{- if eq .Values.gateway.routing "host" }}{{ list "/v1" "/v2" $own | toJson }}{{ else }}{{ list $own | toJson }}{{ end -}}
{{- end -}}

{{/* Matches of one rule as YAML; takes a dict of root, grpc (bool) and track (what testers ask for, or empty). */}}
{{- define "tenant.matches" -}}
{{- $values := .root.Values -}}
{{- $headers := list -}}
{{- if .grpc -}}
{{- $headers = append $headers (dict "type" "RegularExpression" "name" "content-type" "value" "^application/grpc.*") -}}
{{- if eq $values.gateway.routing "path" -}}
{{- $headers = append $headers (dict "type" "Exact" "name" "x-tenon-tenant" "value" $values.tenant) -}}
{{- end -}}
{{- end -}}
{{- with .track }}{{ $headers = append $headers (dict "type" "Exact" "name" $values.gateway.trackHeader "value" .) }}{{ end -}}
{{- $matches := list -}}
{{- range $path := .grpc | ternary (list "/") (include "tenant.paths" .root | fromJsonArray) -}}
{{- $match := dict "path" (dict "type" "PathPrefix" "value" $path) -}}
{{- if $headers }}{{ $_ := set $match "headers" $headers }}{{ end -}}
{{- $matches = append $matches $match -}}
{{- end -}}
{{- toYaml $matches -}}
{{- end -}}

{{/* Address of a query that Prometheus answers while `true` has a result, and refuses otherwise. */}}
{{- define "tenant.gate" -}}
{{- $query := printf "vector(0) + on() (label_replace(vector(1),\"x\",\"1\",\"\",\"\") or (label_replace(vector(1),\"x\",\"2\",\"\",\"\") unless on() (%s)))" .true -}}
{{ trimSuffix "/" .root.Values.flagger.prometheus }}/api/v1/query?query={{ urlquery $query }}
{{- end -}}

{{/* The mean answer of a track by model; no result without answers. Takes a dict of track (labels) and window. */}}
{{- define "tenant.meanScore" -}}
(
  (
    sum by (model) (rate(tenon_predictor_score_sum_total{{ "{" }}{{ .track }},sign="+"}[{{ .window }}]))
    - sum by (model) (rate(tenon_predictor_score_sum_total{{ "{" }}{{ .track }},sign="-"}[{{ .window }}]))
  )
  / (sum by (model) (rate(tenon_predictor_scores_total{{ "{" }}{{ .track }}}[{{ .window }}])) > 0)
)
{{- end -}}
