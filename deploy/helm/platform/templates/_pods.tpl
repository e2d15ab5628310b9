{{/* Plain variables of a component, as YAML; takes a dict of root, component and facts. The user's own win. */}}
{{- define "platform.variables" -}}
{{- $values := .root.Values -}}
{{- $name := include "platform.name" .root -}}
{{- $all := dict "TENON_HTTP_HOST" "0.0.0.0" "TENON_DATA_DIR" "/var/lib/tenon" "TENON_LOG_LEVEL" $values.logLevel -}}
{{- if .facts.doors -}}
{{- $all = merge $all (dict "TENON_HTTP_PORT" "8080" "TENON_GRPC_HOST" "0.0.0.0" "TENON_GRPC_PORT" "8081") -}}
{{- $_ := set $all "TENON_DRAIN_SECONDS" ($values.drain.endpointSeconds | toString) -}}
{{- $_ := set $all "TENON_FINISH_SECONDS" ($values.drain.requestSeconds | toString) -}}
{{- else -}}
{{- $_ := set $all "TENON_WORKER_METRICS_PORT" "8080" -}}
{{- end -}}
{{- with $values.otlpEndpoint }}{{ $_ := set $all "TENON_OTLP_ENDPOINT" . }}{{ end -}}
{{- range .facts.calls }}{{ $_ := set $all (printf "TENON_%s_GRPC" (upper .)) (printf "%s-%s:8081" $name .) }}{{ end -}}
{{- if .facts.database }}{{ $_ := set $all "TENON_MIGRATE_AT_START" (include "platform.migratesInJobs" .root | empty | ternary "true" "false") }}{{ end -}}
{{- if .facts.objects -}}
{{- $_ := set $all "TENON_BLOB_URL" $values.objects.url -}}
{{- $_ := set $all "AWS_REGION" $values.objects.region -}}
{{- $_ := set $all "AWS_DEFAULT_REGION" $values.objects.region -}}
{{- with include "platform.objectsEndpoint" .root }}{{ $_ := set $all "AWS_ENDPOINT_URL" . }}{{ end -}}
{{- end -}}
{{- range .facts.keys }}{{ $_ := set $all (printf "TENON_%s_KEY_FILE" (upper .)) (printf "/etc/tenon/%s/%s.pem" . .) }}{{ end -}}
{{- if $values.tls.secret -}}
{{- $_ := set $all "TENON_TLS_CA_FILE" "/etc/tenon/tls/ca.crt" -}}
{{- if .facts.doors -}}
{{- $_ := set $all "TENON_TLS_CERT_FILE" "/etc/tenon/tls/tls.crt" -}}
{{- $_ := set $all "TENON_TLS_KEY_FILE" "/etc/tenon/tls/tls.key" -}}
{{- end -}}
{{- end -}}
{{- range $key, $value := merge dict (index $values .component).env $values.env }}{{ $_ := set $all $key (kindIs "string" $value | ternary $value (toJson $value)) }}{{ end -}}
{{- toYaml $all -}}
{{- end -}}

{{/* Variables that come from Secrets: name -> Secret, as YAML; takes the same. */}}
{{- define "platform.secretVariables" -}}
{{- $values := .root.Values -}}
{{- $all := dict "TENON_SERVICE_TOKEN" $values.secrets.serviceToken -}}
{{- if .facts.doors }}{{ $_ := set $all "TENON_ADMIN_KEY" $values.secrets.adminKey }}{{ end -}}
{{- with .facts.database }}{{ $_ := set $all "TENON_DATABASE_URL" (index $values.database.secrets .) }}{{ end -}}
{{- if .facts.redis }}{{ $_ := set $all "TENON_REDIS_URL" $values.redis.secret }}{{ end -}}
{{- if and .facts.objects $values.objects.secret -}}
{{- $_ := set $all "AWS_ACCESS_KEY_ID" $values.objects.secret -}}
{{- $_ := set $all "AWS_SECRET_ACCESS_KEY" $values.objects.secret -}}
{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{/* The variables of a container. */}}
{{- define "platform.env" -}}
{{- range $key, $value := include "platform.variables" . | fromYaml }}
- {name: {{ $key }}, value: {{ $value | quote }}}
{{- end }}
{{- range $key, $secret := include "platform.secretVariables" . | fromYaml }}
- name: {{ $key }}
  valueFrom:
    secretKeyRef: {name: {{ $secret }}, key: {{ $key }}}
{{- end }}
{{- end -}}

{{/* What every pod of ours is: nobody's privileges, no token of the API; takes a dict of root, account and user. */}}
{{- define "platform.podFrame" -}}
serviceAccountName: {{ .account }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user | default 10001 }}
  runAsGroup: {{ .user | default 10001 }}
  fsGroup: {{ .user | default 10001 }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .root.Values.pods.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "platform.hardened" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Where a component's pods run; takes a dict of root and component. */}}
{{- define "platform.placement" -}}
{{- $own := index .root.Values .component | default dict -}}
{{- with $own.nodeSelector | default .root.Values.pods.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.tolerations | default .root.Values.pods.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Spread over nodes and zones, each generation of a Deployment by itself. */}}
{{- define "platform.spread" -}}
{{- $own := index .root.Values .component -}}
{{- if $own.affinity }}
affinity:
  {{- toYaml $own.affinity | nindent 2 }}
{{- else }}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "platform.selector" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- end -}}

{{/* Startup: both doors are open. Ready: what it needs is there. Alive: it answers at all. Takes a dict of root and facts. */}}
{{- define "platform.probes" -}}
{{- $scheme := .root.Values.tls.secret | empty | ternary "HTTP" "HTTPS" -}}
startupProbe:
  {{- if not .facts.doors }}
  httpGet: {path: /metrics, port: http}
  {{- else if .root.Values.tls.secret }}
  # Kubernetes' gRPC probe speaks no TLS.
  tcpSocket: {port: grpc}
  {{- else }}
  grpc: {port: 8081}
  {{- end }}
  periodSeconds: 2
  timeoutSeconds: 3
  failureThreshold: 90
readinessProbe:
  {{- if .facts.doors }}
  httpGet: {path: /readyz, port: http, scheme: {{ $scheme }}}
  {{- else }}
  httpGet: {path: /metrics, port: http}
  {{- end }}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 3
livenessProbe:
  {{- if .facts.doors }}
  httpGet: {path: /healthz, port: http, scheme: {{ $scheme }}}
  {{- else }}
  httpGet: {path: /metrics, port: http}
  {{- end }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}
