{{/* Names and labels. */}}

{{- define "waybill.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains "waybill" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-waybill" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What never changes of a release: selectors stand on it. */}}
{{- define "waybill.selector" -}}
app.kubernetes.io/name: waybill
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "waybill.labels" -}}
{{ include "waybill.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Of pods: without versions, so that only a change of what they run rolls them. */}}
{{- define "waybill.podLabels" -}}
{{ include "waybill.selector" . }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "waybill.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "waybill.fullname" .) -}}
{{- end -}}

{{- define "waybill.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/*
What a component is. `clickhouse`: it talks to ClickHouse. `secrets`: the carriers' secrets themselves (`values`), or only
the fact that they are there (`presence`): scheduler and API must know which carriers are on, but never hold their keys.
*/}}
{{- define "waybill.components" -}}
scheduler: {kind: StatefulSet, clickhouse: false, secrets: presence}
fetcher: {kind: StatefulSet, clickhouse: false, secrets: values}
normalizer: {kind: Deployment, clickhouse: false, secrets: none}
store: {kind: Deployment, clickhouse: true, secrets: none}
api: {kind: Deployment, clickhouse: true, secrets: presence}
{{- end -}}
