{{/* Rules of network policies. Pods of the platform are known by the labels they carry, others by their namespace's. */}}

{{- define "platform.pods" -}}
- podSelector:
    matchLabels:
      app.kubernetes.io/instance: {{ .root.Release.Name }}
      app.kubernetes.io/part-of: tenon
    matchExpressions:
      - {key: app.kubernetes.io/component, operator: In, values: {{ toJson .components }}}
{{- end -}}

{{- define "platform.toNames" -}}
- to:
    - namespaceSelector:
        matchLabels:
          {{- toYaml .Values.networkPolicy.dnsNamespace | nindent 10 }}
  ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end -}}

{{/* Out to a store: the bundled one, or where it is said to be; takes a dict of root, store and component. */}}
{{- define "platform.toStore" -}}
{{- $store := index .root.Values .store -}}
{{- if $store.bundled.enabled -}}
- to:
    {{- include "platform.pods" (dict "root" .root "components" (list .component)) | nindent 4 }}
  ports:
    - {port: {{ include "platform.bundledPort" . }}, protocol: TCP}
{{- else -}}
- ports:
    - {port: {{ $store.port }}, protocol: TCP}
  {{- with $store.peers }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end -}}

{{- define "platform.bundledPort" -}}
{{- index (dict "database" "5432" "redis" "6379" "objects" "7070") .store -}}
{{- end -}}

{{- define "platform.tenantsPredictors" -}}
- namespaceSelector:
    matchLabels:
      {{- toYaml .Values.networkPolicy.tenantNamespace | nindent 6 }}
  podSelector:
    matchLabels:
      app.kubernetes.io/part-of: tenon
      app.kubernetes.io/component: predictor
{{- end -}}
