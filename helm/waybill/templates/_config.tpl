{{/*
The program's configuration file. JSON: template functions would write whole numbers of a million and more as 1e+06 in
YAML. Nothing in it is secret.
*/}}
{{- define "waybill.config" -}}
{{- $values := .Values -}}
{{- $kafka := deepCopy ($values.kafka.config | default dict) -}}
{{- $_ := set $kafka "brokers" $values.kafka.brokers -}}
{{- range $section := list "settings" "producer_settings" "consumer_settings" -}}
{{- range $name, $_ := get $kafka $section | default dict -}}
{{- if regexMatch "password|secret|key\\.pem|oauthbearer\\.config" $name -}}
{{- fail (printf "kafka.config.%s: `%s` is a secret, and this becomes a ConfigMap: give it in kafka.secretSettings" $section $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $files := dict -}}
{{- range $name, $_ := $values.kafka.secretSettings }}{{- $_ := set $files $name (printf "/etc/waybill/kafka/%s" $name) -}}{{- end -}}
{{- if $files }}{{- $_ := set $kafka "setting_files" $files -}}{{- end -}}
{{- $log := dict "prefix" $values.kafka.prefix "partitions" (int $values.kafka.partitions) "kafka" $kafka -}}
{{- $clickhouse := dict "url" $values.clickhouse.url "user" $values.clickhouse.user -}}
{{- $telemetry := omit $values.telemetry "otlp" -}}
{{- with $values.telemetry.otlp -}}
{{- $otlp := deepCopy . -}}
{{- $headers := dict -}}
{{- range $name, $_ := $values.otlpHeaders }}{{- $_ := set $headers $name (printf "/etc/waybill/otlp/%s" $name) -}}{{- end -}}
{{- if $headers }}{{- $_ := set $otlp "header_files" $headers -}}{{- end -}}
{{- $_ := set $telemetry "otlp" $otlp -}}
{{- end -}}
{{- $config := dict "log" $log "clickhouse" $clickhouse "telemetry" $telemetry -}}
{{- range $name, $_ := include "waybill.components" . | fromYaml -}}
{{- with (index $values $name).config }}{{- $_ := set $config $name . -}}{{- end -}}
{{- end -}}
{{- range $name := list "admin" "poison" -}}
{{- with index $values $name }}{{- $_ := set $config $name . -}}{{- end -}}
{{- end -}}
{{- $carriers := dict -}}
{{- range $slug, $carrier := $values.carriers }}{{- $_ := set $carriers $slug (omit ($carrier | default dict) "secrets") -}}{{- end -}}
{{- if $carriers }}{{- $_ := set $config "carriers" $carriers -}}{{- end -}}
{{- with include "waybill.adapterFolders" . | fromJsonArray }}{{- $_ := set $config "adapters" . -}}{{- end -}}
{{- toPrettyJson $config -}}
{{- end -}}

{{- define "waybill.adapterFolders" -}}
{{- $folders := list -}}
{{- if .Values.adapters.inline }}{{- $folders = append $folders "/etc/waybill/adapters/inline" -}}{{- end -}}
{{- range .Values.adapters.configMaps }}{{- if not .candidates }}{{- $folders = append $folders (printf "/etc/waybill/adapters/map-%s" .name) -}}{{- end -}}{{- end -}}
{{- range .Values.adapters.volumes }}{{- if not .candidates }}{{- $folders = append $folders (printf "/etc/waybill/adapters/volume-%s" .name) -}}{{- end -}}{{- end -}}
{{- toJson $folders -}}
{{- end -}}

{{/* The chart's ConfigMap: the configuration, and the adapters that are written into the values. As YAML. */}}
{{- define "waybill.configData" -}}
waybill.json: |
  {{- include "waybill.config" . | nindent 2 }}
{{- range $slug, $adapter := .Values.adapters.inline }}
{{ $slug }}.adapter.yaml: |
  {{- $adapter.adapter | nindent 2 }}
{{ $slug }}.mapping.yaml: |
  {{- $adapter.mapping | nindent 2 }}
{{- end }}
{{- end -}}
