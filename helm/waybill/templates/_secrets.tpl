{{/*
Secrets are references `{secret, key}` to Secrets that exist, or `{value}`, which the chart puts into one of its own.
*/}}

{{/* "true" when there is one. Refuses half a reference and two sources at once. Takes {source, path}. */}}
{{- define "waybill.secretGiven" -}}
{{- $source := .source | default dict -}}
{{- if and $source.value (or $source.secret $source.key) -}}
{{- fail (printf "%s: give either `value` or `secret` and `key`, not both" .path) -}}
{{- end -}}
{{- if ne (empty $source.secret) (empty $source.key) -}}
{{- fail (printf "%s: a reference needs both `secret` (the Secret's name) and `key`" .path) -}}
{{- end -}}
{{- if or $source.value $source.secret -}}true{{- end -}}
{{- end -}}

{{/* A key reference as pods take it. Takes {root, source, own}, where `own` is the key in the chart's Secret. */}}
{{- define "waybill.secretRef" -}}
{{- if .source.secret -}}
{name: {{ .source.secret | quote }}, key: {{ .source.key | quote }}}
{{- else -}}
{name: {{ .secretName | quote }}, key: {{ .own | quote }}}
{{- end -}}
{{- end -}}

{{- define "waybill.secretVariable" -}}
{{- printf "WAYBILL_SECRET_%s_%s" .slug .name | upper | replace "-" "_" | replace "." "_" -}}
{{- end -}}

{{/*
The key for callers of the API: given, or made once and kept from then on. Kept by asking the cluster for it; where
nothing can be asked (`helm template`), each rendering makes another: give your own there.
*/}}
{{- define "waybill.apiKeys" -}}
{{- if .Values.apiKeys.value -}}
{{- .Values.apiKeys.value -}}
{{- else -}}
{{- $there := lookup "v1" "Secret" .Release.Namespace (include "waybill.fullname" .) -}}
{{- $kept := index ($there.data | default dict) "api-keys" -}}
{{- if $kept -}}{{ $kept | b64dec }}{{- else -}}{{ printf "helm %s" (randAlphaNum 40) }}{{- end -}}
{{- end -}}
{{- end -}}

{{/* What of the chart's own Secret is there before anything is installed: the hook Jobs need it. As YAML. */}}
{{- define "waybill.ownSecretsOfSetup" -}}
{{- $own := dict -}}
{{- if include "waybill.secretGiven" (dict "source" .Values.clickhouse.password "path" "clickhouse.password") -}}
{{- with .Values.clickhouse.password.value }}{{- $_ := set $own "clickhouse-password" (b64enc .) -}}{{- end -}}
{{- end -}}
{{- range $path, $sources := dict "kafka.secretSettings" .Values.kafka.secretSettings "otlpHeaders" .Values.otlpHeaders -}}
{{- range $name, $source := $sources -}}
{{- if not (include "waybill.secretGiven" (dict "source" $source "path" (printf "%s.%s" $path $name))) -}}
{{- fail (printf "%s.%s: give `value`, or `secret` and `key`" $path $name) -}}
{{- end -}}
{{- with $source.value }}{{- $_ := set $own (printf "%s.%s" (splitList "." $path | first) $name) (b64enc .) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $own -}}
{{- end -}}

{{/* The chart's own Secret, as JSON. */}}
{{- define "waybill.ownSecrets" -}}
{{- $own := include "waybill.ownSecretsOfSetup" . | fromJson -}}
{{- if not (include "waybill.secretGiven" (dict "source" (dict "secret" .Values.apiKeys.secret "key" .Values.apiKeys.key "value" .Values.apiKeys.value) "path" "apiKeys")) -}}
{{- $_ := set $own "api-keys" (include "waybill.apiKeys" . | b64enc) -}}
{{- else if .Values.apiKeys.value -}}
{{- range splitList "\n" .Values.apiKeys.value -}}
{{- $line := trim . -}}
{{- if and $line (not (hasPrefix "#" $line)) (not (regexMatch "^\\S+\\s+\\S.{23,}$" $line)) -}}
{{- fail "apiKeys.value: write lines of `name token`, each token of 24 characters or more" -}}
{{- end -}}
{{- end -}}
{{- $_ := set $own "api-keys" (b64enc .Values.apiKeys.value) -}}
{{- end -}}
{{- range $slug, $carrier := .Values.carriers -}}
{{- range $name, $source := ($carrier).secrets -}}
{{- $path := printf "carriers.%s.secrets.%s" $slug $name -}}
{{- if not (include "waybill.secretGiven" (dict "source" $source "path" $path)) -}}
{{- fail (printf "%s: give `value`, or `secret` and `key`" $path) -}}
{{- end -}}
{{- with $source.value }}{{- $_ := set $own (printf "carrier.%s.%s" $slug $name) (b64enc .) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $own -}}
{{- end -}}

{{/* Names of the Secrets and ConfigMaps that are not the chart's own, as JSON: their changes roll pods as well. */}}
{{- define "waybill.foreign" -}}
{{- $secrets := list -}}
{{- $maps := list -}}
{{- with .Values.apiKeys.secret }}{{- $secrets = append $secrets . -}}{{- end -}}
{{- with .Values.clickhouse.password.secret }}{{- $secrets = append $secrets . -}}{{- end -}}
{{- range list .Values.kafka.secretSettings .Values.otlpHeaders -}}
{{- range . }}{{- with .secret }}{{- $secrets = append $secrets . -}}{{- end -}}{{- end -}}
{{- end -}}
{{- range concat (values (.Values.kafka.files | default dict)) (list (.Values.clickhouse.ca | default dict)) -}}
{{- with .secret }}{{- $secrets = append $secrets . -}}{{- end -}}
{{- with .configMap }}{{- $maps = append $maps . -}}{{- end -}}
{{- end -}}
{{- range .Values.carriers }}{{- range (.).secrets }}{{- with .secret }}{{- $secrets = append $secrets . -}}{{- end -}}{{- end -}}{{- end -}}
{{- range .Values.adapters.configMaps }}{{- $maps = append $maps .name -}}{{- end -}}
{{- dict "Secret" ($secrets | uniq | sortAlpha) "ConfigMap" ($maps | uniq | sortAlpha) | toJson -}}
{{- end -}}

{{/*
A checksum of every Secret and ConfigMap that pods read. Of those that are not the chart's own it takes the version that
the cluster tells, not the content: `helm upgrade` after a change rolls the pods.
*/}}
{{- define "waybill.secretsChecksum" -}}
{{- $seen := list (include "waybill.ownSecretsStable" .) -}}
{{- $root := . -}}
{{- range $kind, $names := include "waybill.foreign" . | fromJson -}}
{{- range $names -}}
{{- $there := lookup "v1" $kind $root.Release.Namespace . -}}
{{- $seen = append $seen (printf "%s/%s@%s" $kind . (dig "metadata" "resourceVersion" "" ($there | default dict))) -}}
{{- end -}}
{{- end -}}
{{- $seen | toJson | sha256sum -}}
{{- end -}}

{{/* The chart's own Secret without a key that it made by itself, which differs at each `helm template`. */}}
{{- define "waybill.ownSecretsStable" -}}
{{- $own := include "waybill.ownSecrets" . | fromJson -}}
{{- if or .Values.apiKeys.value .Values.apiKeys.secret }}{{ toJson $own }}{{ else }}{{ omit $own "api-keys" | toJson }}{{ end -}}
{{- end -}}
