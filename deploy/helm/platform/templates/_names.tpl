{{/* What everything's name begins with. */}}
{{- define "platform.name" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* The programs that run, as files/components.yaml describes them, as YAML. */}}
{{- define "platform.components" -}}
{{- $all := .Files.Get "files/components.yaml" | fromYaml -}}
{{- if not .Values.predictor.enabled }}{{ $all = omit $all "predictor" }}{{ end -}}
{{- toYaml $all -}}
{{- end -}}

{{/* What selects a component's pods; takes a dict of root and component. Never a version: selectors cannot change. */}}
{{- define "platform.selector" -}}
app.kubernetes.io/name: tenon-{{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end -}}

{{/* The labels of an object; takes a dict of root and component. */}}
{{- define "platform.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{ include "platform.selector" . }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/part-of: tenon
app.kubernetes.io/version: {{ .root.Values.image.tag | default .root.Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of a component's pods, which are known by them to others as well. */}}
{{- define "platform.podLabels" -}}
{{ include "platform.selector" . }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/part-of: tenon
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The image of a component; takes a dict of root and component. */}}
{{- define "platform.image" -}}
{{- $own := (index .root.Values .component).image -}}
{{- with .root.Values.image.registry }}{{ . }}/{{ end }}{{ $own.repository -}}
{{- if $own.digest }}@{{ $own.digest }}{{ else }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end -}}

{{/* Whether Jobs migrate: not with the bundled PostgreSQL, which hooks would come before. */}}
{{- define "platform.migratesInJobs" -}}
{{- if and .Values.migrations.jobs (not .Values.database.bundled.enabled) }}yes{{ end -}}
{{- end -}}

{{- define "platform.objectsEndpoint" -}}
{{- if .Values.objects.bundled.enabled }}http://{{ include "platform.name" . }}-objects:7070{{ else }}{{ .Values.objects.endpoint }}{{ end -}}
{{- end -}}
