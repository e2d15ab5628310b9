{{/* The pods of a track; takes a dict of root, track and selector (labels that select them). */}}
{{- define "tenant.pod" -}}
{{- $values := .root.Values -}}
metadata:
  labels:
    {{- .selector | nindent 4 }}
    app.kubernetes.io/component: predictor
    app.kubernetes.io/part-of: tenon
    tenon.io/tenant: {{ $values.tenant | quote }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: predictor
    {{- if $values.metrics.annotations }}
    prometheus.io/scrape: "true"
    prometheus.io/port: "8080"
    prometheus.io/path: /metrics
    {{- end }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "tenant.account" .root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add $values.drain.endpointSeconds $values.drain.requestSeconds 15 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    seccompProfile:
      type: RuntimeDefault
  {{- with $values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  containers:
    - name: predictor
      image: {{ include "tenant.image" .root | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      securityContext:
        {{- include "tenant.hardened" . | nindent 8 }}
      ports:
        - {name: http, containerPort: 8080}
        - {name: grpc, containerPort: 8081}
      env:
        - {name: TENON_HTTP_HOST, value: "0.0.0.0"}
        - {name: TENON_HTTP_PORT, value: "8080"}
        - {name: TENON_GRPC_HOST, value: "0.0.0.0"}
        - {name: TENON_GRPC_PORT, value: "8081"}
        - {name: TENON_DATA_DIR, value: /var/lib/tenon}
        - {name: TENON_DRAIN_SECONDS, value: {{ $values.drain.endpointSeconds | quote }}}
        - {name: TENON_FINISH_SECONDS, value: {{ $values.drain.requestSeconds | quote }}}
        - {name: TENON_LOG_LEVEL, value: {{ $values.predictor.logLevel | quote }}}
        - {name: TENON_REGISTRY_GRPC, value: {{ $values.platform.registry | quote }}}
        {{- with $values.platform.features }}
        - {name: TENON_FEATURES_GRPC, value: {{ . | quote }}}
        {{- end }}
        {{- with $values.platform.otlp }}
        - {name: TENON_OTLP_ENDPOINT, value: {{ . | quote }}}
        {{- end }}
        - {name: TENON_VERIFY_KEY_FILE, value: /etc/tenon/verify/verify.pem}
        - name: TENON_PREDICTOR_TENANTS
          value: {{ list $values.tenant | toJson | squote }}
        - name: TENON_PREDICTOR_PINNED
          value: {{ include "tenant.pins" . | squote }}
        - {name: TENON_PREDICTOR_WORKERS, value: {{ $values.predictor.workers | quote }}}
        - {name: TENON_PREDICTOR_SPOOL_MAX_MIB, value: {{ $values.predictor.spoolMiB | int | quote }}}
        - {name: TENON_PREDICTOR_QUOTA_REPLICAS, value: {{ $values.quota.replicas | quote }}}
        {{- range $name, $value := dict "REQUESTS_PER_SECOND" $values.quota.requestsPerSecond "BURST" $values.quota.burst "ROWS_PER_SECOND" $values.quota.rowsPerSecond "CONCURRENCY" $values.quota.concurrency }}
        {{- if $value }}
        - {name: TENON_PREDICTOR_{{ $name }}, value: {{ include "tenant.text" $value }}}
        {{- end }}
        {{- end }}
        {{- with $values.predictor.hostSuffix }}
        - {name: TENON_PREDICTOR_HOST_SUFFIX, value: {{ . | quote }}}
        {{- end }}
        - name: TENON_SERVICE_TOKEN
          valueFrom:
            secretKeyRef: {name: {{ $values.secrets.service }}, key: TENON_SERVICE_TOKEN}
        {{- with $values.secrets.redis }}
        - name: TENON_REDIS_URL
          valueFrom:
            secretKeyRef: {name: {{ . }}, key: TENON_REDIS_URL}
        {{- end }}
        {{- range $name, $value := $values.predictor.env }}
        - {name: {{ $name }}, value: {{ include "tenant.text" $value }}}
        {{- end }}
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      # A pod whose versions cannot be loaded lives and is not ready: the rollout fails, and /readyz says why.
      startupProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 2
        failureThreshold: 60
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        periodSeconds: 2
        timeoutSeconds: 3
        failureThreshold: 2
      livenessProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      volumeMounts:
        - {name: data, mountPath: /var/lib/tenon}
        - {name: tmp, mountPath: /tmp}
        - {name: verify, mountPath: /etc/tenon/verify, readOnly: true}
  volumes:
    - name: data
      emptyDir:
        sizeLimit: {{ printf "%dMi" (add 1024 (int $values.predictor.spoolMiB)) }}
    - name: tmp
      emptyDir:
        sizeLimit: 256Mi
    - name: verify
      secret:
        secretName: {{ $values.secrets.verifyKey }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- if $values.affinity }}
  affinity:
    {{- toYaml $values.affinity | nindent 4 }}
  {{- else }}
  topologySpreadConstraints:
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- $.selector | nindent 10 }}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* A value as a text in quotes: whole numbers as such, however large (values files make them floats, which are written 1e+07). */}}
{{- define "tenant.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . | quote }}{{ else }}{{ toString . | quote }}{{ end -}}
{{- end -}}

{{- define "tenant.hardened" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}
