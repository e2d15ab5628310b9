{{/* What everything's name begins with. */}}
{{- define "observability.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "observability.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: tenon-observability
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: tenon
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Where monitors look; takes a list of namespaces. */}}
{{- define "observability.namespaces" -}}
namespaceSelector:
  {{- if . }}
  matchNames:
    {{- toYaml . | nindent 4 }}
  {{- else }}
  any: true
  {{- end }}
{{- end -}}

{{/* How a door is read; takes a dict of root and service (empty: the pod's label says it). Rules and dashboards know targets by job and service. */}}
{{- define "observability.endpoint" -}}
{{- $monitors := .root.Values.monitors -}}
- port: http
  path: /metrics
  interval: {{ $monitors.interval }}
  scrapeTimeout: {{ $monitors.scrapeTimeout }}
  scheme: {{ $monitors.scheme }}
  {{- if eq $monitors.scheme "https" }}
  tlsConfig:
    insecureSkipVerify: {{ $monitors.tls.insecureSkipVerify }}
    {{- with $monitors.tls.serverName }}
    serverName: {{ . }}
    {{- end }}
    {{- with $monitors.tls.caSecret }}
    ca:
      secret: {name: {{ . }}, key: {{ $monitors.tls.caKey }}}
    {{- end }}
  {{- end }}
  relabelings:
    - targetLabel: job
      replacement: tenon
    {{- if .service }}
    - targetLabel: service
      replacement: {{ .service }}
    {{- else }}
    - sourceLabels: [__meta_kubernetes_pod_label_app_kubernetes_io_component]
      targetLabel: service
    {{- end }}
    - sourceLabels: [__meta_kubernetes_pod_label_tenon_io_track]
      targetLabel: track
{{- end -}}
