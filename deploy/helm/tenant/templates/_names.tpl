{{/* The name of everything. */}}
{{- define "tenant.name" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "tenant.account" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "tenant.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end -}}
{{- end -}}

{{- define "tenant.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: tenon-predictor
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: predictor
app.kubernetes.io/part-of: tenon
app.kubernetes.io/managed-by: {{ .Release.Service }}
tenon.io/tenant: {{ .Values.tenant | quote }}
{{- end -}}

{{/* What selects a track's pods; takes a dict of root and track. Never a version: selectors cannot change. */}}
{{- define "tenant.selector" -}}
app.kubernetes.io/name: tenon-predictor
app.kubernetes.io/instance: {{ .root.Release.Name }}
tenon.io/track: {{ .track }}
{{- end -}}

{{- define "tenant.image" -}}
{{- with .Values.image -}}
{{- with .registry }}{{ . }}/{{ end }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end -}}

{{- define "tenant.hasCanary" -}}
{{- $canary := .Values.canary | default dict -}}
{{- if and (eq .Values.rollout.strategy "manual") (or $canary.version $canary.versions) }}yes{{ end -}}
{{- end -}}

{{/* Whether there are pods of the canary's track: of a canary, or on standby. */}}
{{- define "tenant.hasSecondTrack" -}}
{{- if or (include "tenant.hasCanary" .) (and (eq .Values.rollout.strategy "manual") .Values.rollout.standby) }}yes{{ end -}}
{{- end -}}

{{/* The canary's share, percent. */}}
{{- define "tenant.weight" -}}
{{- if include "tenant.hasCanary" . }}{{ int (.Values.canary.weight | default 0) }}{{ else }}0{{ end -}}
{{- end -}}

{{/* What TENON_PREDICTOR_PINNED says of a track, as JSON; takes a dict of root and track. Sorted by model. */}}
{{- define "tenant.pins" -}}
{{- $values := .root.Values -}}
{{- $canary := $values.canary | default dict -}}
{{- $tried := eq .track "canary" -}}
{{- $versions := dict -}}
{{- $digests := dict -}}
{{- if $values.model -}}
{{- $_ := set $versions $values.model $values.stable.version -}}
{{- $_ := set $digests $values.model $values.stable.sha256 -}}
{{- end -}}
{{- range $model, $version := $values.stable.versions }}{{ $_ := set $versions $model $version }}{{ end -}}
{{- if $tried -}}
{{- if $canary.version -}}
{{- if not $values.model }}{{ fail "canary.version needs model" }}{{ end -}}
{{- $_ := set $versions $values.model $canary.version -}}
{{- $_ := set $digests $values.model $canary.sha256 -}}
{{- end -}}
{{- range $model, $version := $canary.versions -}}
{{- if not (hasKey $versions $model) }}{{ fail (printf "canary.versions names %s, which has no stable version" $model) }}{{ end -}}
{{- $_ := set $versions $model $version -}}
{{- end -}}
{{- end -}}
{{- $pins := list -}}
{{- range $model := keys $versions | sortAlpha -}}
{{- $version := get $versions $model -}}
{{- if not $version }}{{ fail "stable.version is needed: --set stable.version=1" }}{{ end -}}
{{- $pin := dict "model" $model "version" (int $version) -}}
{{- with get $digests $model }}{{ $_ := set $pin "sha256" . }}{{ end -}}
{{- $pins = append $pins $pin -}}
{{- end -}}
{{- if not $pins }}{{ fail "model and stable.version, or stable.versions, are needed" }}{{ end -}}
{{- toJson $pins -}}
{{- end -}}
