{{/* Pods: every one of the chart is made here, so that all are confined alike. */}}

{{- define "waybill.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "waybill.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/*
Volumes and mounts of a pod. Takes {root, config, own, clickhouse, apiKeys}: the names of the ConfigMap and of the chart's
Secret as they are when the pod runs (hook Jobs run before the release's own are there), and what of them it sees.
Answers JSON {volumes, mounts}.
*/}}
{{- define "waybill.volumes" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- $config := .config -}}
{{- $own := .own -}}
{{- $volumes := list (dict "name" "config" "configMap" (dict "name" $config "items" (list (dict "key" "waybill.json" "path" "waybill.json")))) -}}
{{- $mounts := list (dict "name" "config" "mountPath" "/etc/waybill/config" "readOnly" true) -}}
{{- $volumes = append $volumes (dict "name" "tmp" "emptyDir" (dict "sizeLimit" "64Mi")) -}}
{{- $mounts = append $mounts (dict "name" "tmp" "mountPath" "/tmp") -}}
{{- $kafka := list -}}
{{- range $name, $source := $values.kafka.secretSettings -}}
{{- $ref := include "waybill.secretRef" (dict "source" $source "secretName" $own "own" (printf "kafka.%s" $name)) | fromYaml -}}
{{- $kafka = append $kafka (dict "secret" (dict "name" $ref.name "items" (list (dict "key" $ref.key "path" $name)))) -}}
{{- end -}}
{{- range $name, $source := $values.kafka.files -}}
{{- $kinds := list -}}
{{- range list "secret" "configMap" "serviceAccountToken" }}{{- if get ($source | default dict) . }}{{- $kinds = append $kinds . -}}{{- end -}}{{- end -}}
{{- if or (ne (len $kinds) 1) (ne (empty $source.key) (not (empty $source.serviceAccountToken))) -}}
{{- fail (printf "kafka.files.%s: give `secret` and `key`, `configMap` and `key`, or `serviceAccountToken`" $name) -}}
{{- end -}}
{{- $items := list (dict "key" $source.key "path" $name) -}}
{{- if $source.serviceAccountToken -}}
{{- $kafka = append $kafka (dict "serviceAccountToken" (merge (dict "path" $name) (deepCopy $source.serviceAccountToken))) -}}
{{- else if $source.secret -}}
{{- $kafka = append $kafka (dict "secret" (dict "name" $source.secret "items" $items)) -}}
{{- else -}}
{{- $kafka = append $kafka (dict "configMap" (dict "name" $source.configMap "items" $items)) -}}
{{- end -}}
{{- end -}}
{{- if $kafka -}}
{{- $volumes = append $volumes (dict "name" "kafka" "projected" (dict "defaultMode" 288 "sources" $kafka)) -}}
{{- $mounts = append $mounts (dict "name" "kafka" "mountPath" "/etc/waybill/kafka" "readOnly" true) -}}
{{- end -}}
{{- $headers := list -}}
{{- range $name, $source := $values.otlpHeaders -}}
{{- $ref := include "waybill.secretRef" (dict "source" $source "secretName" $own "own" (printf "otlpHeaders.%s" $name)) | fromYaml -}}
{{- $headers = append $headers (dict "secret" (dict "name" $ref.name "items" (list (dict "key" $ref.key "path" $name)))) -}}
{{- end -}}
{{- if and $headers $values.telemetry.otlp -}}
{{- $volumes = append $volumes (dict "name" "otlp" "projected" (dict "defaultMode" 288 "sources" $headers)) -}}
{{- $mounts = append $mounts (dict "name" "otlp" "mountPath" "/etc/waybill/otlp" "readOnly" true) -}}
{{- end -}}
{{- $clickhouse := list -}}
{{- if and .clickhouse (include "waybill.secretGiven" (dict "source" $values.clickhouse.password "path" "clickhouse.password")) -}}
{{- $ref := include "waybill.secretRef" (dict "source" $values.clickhouse.password "secretName" $own "own" "clickhouse-password") | fromYaml -}}
{{- $clickhouse = append $clickhouse (dict "secret" (dict "name" $ref.name "items" (list (dict "key" $ref.key "path" "password")))) -}}
{{- end -}}
{{- if and .clickhouse $values.clickhouse.ca -}}
{{- $ca := $values.clickhouse.ca -}}
{{- if or (eq (empty $ca.secret) (empty $ca.configMap)) (empty $ca.key) -}}
{{- fail "clickhouse.ca: give `secret` and `key`, or `configMap` and `key`" -}}
{{- end -}}
{{- if not (hasPrefix "https://" $values.clickhouse.url) -}}
{{- fail (printf "clickhouse.ca: nothing is verified at %s; write https://, or leave clickhouse.ca out" $values.clickhouse.url) -}}
{{- end -}}
{{- $source := dict "name" ($ca.secret | default $ca.configMap) "items" (list (dict "key" $ca.key "path" "ca.crt")) -}}
{{- $clickhouse = append $clickhouse (dict (ternary "configMap" "secret" (empty $ca.secret)) $source) -}}
{{- end -}}
{{- if $clickhouse -}}
{{- $volumes = append $volumes (dict "name" "clickhouse" "projected" (dict "defaultMode" 288 "sources" $clickhouse)) -}}
{{- $mounts = append $mounts (dict "name" "clickhouse" "mountPath" "/etc/waybill/clickhouse" "readOnly" true) -}}
{{- end -}}
{{- if .apiKeys -}}
{{- $ref := include "waybill.secretRef" (dict "source" $values.apiKeys "secretName" $own "own" "api-keys") | fromYaml -}}
{{- $volumes = append $volumes (dict "name" "keys" "secret" (dict "secretName" $ref.name "defaultMode" 288 "items" (list (dict "key" $ref.key "path" "keys")))) -}}
{{- $mounts = append $mounts (dict "name" "keys" "mountPath" "/etc/waybill/keys" "readOnly" true) -}}
{{- end -}}
{{- $inline := list -}}
{{- range $slug, $_ := $values.adapters.inline -}}
{{- range list "adapter" "mapping" }}{{- $inline = append $inline (dict "key" (printf "%s.%s.yaml" $slug .) "path" (printf "%s/%s.yaml" $slug .)) -}}{{- end -}}
{{- end -}}
{{- if $inline -}}
{{- $volumes = append $volumes (dict "name" "adapters-inline" "configMap" (dict "name" $config "items" $inline)) -}}
{{- $mounts = append $mounts (dict "name" "adapters-inline" "mountPath" "/etc/waybill/adapters/inline" "readOnly" true) -}}
{{- end -}}
{{- range $values.adapters.configMaps -}}
{{- $items := list -}}
{{- range $slug := .carriers -}}
{{- range list "adapter" "mapping" }}{{- $items = append $items (dict "key" (printf "%s.%s.yaml" $slug .) "path" (printf "%s/%s.yaml" $slug .)) -}}{{- end -}}
{{- end -}}
{{- $name := printf "map-%s" .name -}}
{{- $volumes = append $volumes (dict "name" (printf "adapters-%s" $name | trunc 63 | trimSuffix "-") "configMap" (dict "name" .name "items" $items)) -}}
{{- $mounts = append $mounts (dict "name" (printf "adapters-%s" $name | trunc 63 | trimSuffix "-") "mountPath" (printf "/etc/waybill/adapters/%s" $name) "readOnly" true) -}}
{{- end -}}
{{- range $values.adapters.volumes -}}
{{- $name := printf "adapters-volume-%s" .name | trunc 63 | trimSuffix "-" -}}
{{- $volumes = append $volumes (merge (dict "name" $name) (deepCopy .source)) -}}
{{- $mounts = append $mounts (dict "name" $name "mountPath" (printf "/etc/waybill/adapters/volume-%s" .name) "readOnly" true) -}}
{{- end -}}
{{- dict "volumes" $volumes "mounts" $mounts | toJson -}}
{{- end -}}

{{/* Where a pod may run. Takes a component's block. */}}
{{- define "waybill.placement" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A pod that runs one command to its end: Jobs and the test. Takes {root, name, args, block, serviceAccount} and what waybill.volumes takes. */}}
{{- define "waybill.taskPod" -}}
{{- $root := .root -}}
{{- $volumes := include "waybill.volumes" . | fromJson -}}
serviceAccountName: {{ .serviceAccount }}
automountServiceAccountToken: false
enableServiceLinks: false
restartPolicy: Never
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- include "waybill.placement" .block }}
securityContext: {{- include "waybill.podSecurity" $root | nindent 2 }}
containers:
  - name: {{ .name }}
    image: {{ include "waybill.image" $root | quote }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    command: [waybill]
    args: {{ toJson .args }}
    env:
      # Its log lines are for people: they are read after something went wrong.
      - {name: WAYBILL__TELEMETRY__FORMAT, value: text}
      {{- if and .clickhouse (include "waybill.secretGiven" (dict "source" $root.Values.clickhouse.password "path" "clickhouse.password")) }}
      - {name: WAYBILL__CLICKHOUSE__PASSWORD_FILE, value: /etc/waybill/clickhouse/password}
      {{- end }}
      {{- if and .clickhouse $root.Values.clickhouse.ca }}
      - {name: WAYBILL__CLICKHOUSE__CA_FILE, value: /etc/waybill/clickhouse/ca.crt}
      {{- end }}
      {{- range $name, $value := .block.env }}
      - {name: {{ $name | quote }}, value: {{ $value | quote }}}
      {{- end }}
    securityContext: {{- include "waybill.containerSecurity" $root | nindent 6 }}
    resources: {{- toYaml .block.resources | nindent 6 }}
    volumeMounts: {{- toYaml $volumes.mounts | nindent 6 }}
volumes: {{- toYaml $volumes.volumes | nindent 2 }}
{{- end -}}

{{/* The pod template of a service. Takes {root, name, facts}. */}}
{{- define "waybill.pod" -}}
{{- $root := .root -}}
{{- $name := .name -}}
{{- $facts := .facts -}}
{{- $values := $root.Values -}}
{{- $block := index $values $name -}}
{{- $fullname := include "waybill.fullname" $root -}}
{{- $isApi := eq $name "api" -}}
{{- $volumes := include "waybill.volumes" (dict "root" $root "config" $fullname "own" $fullname "clickhouse" $facts.clickhouse "apiKeys" $isApi) | fromJson -}}
metadata:
  labels:
    {{- include "waybill.podLabels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ $name }}
    # What the Service of the pods selects: Jobs and the test are none of it.
    waybill/service: "true"
    {{- with $block.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # A change of what a pod reads at its start rolls it.
    checksum/config: {{ include "waybill.configData" $root | sha256sum }}
    checksum/secrets: {{ include "waybill.secretsChecksum" $root }}
    {{- with $block.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "waybill.serviceAccount" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with $values.image.pullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- include "waybill.placement" $block | nindent 2 }}
  # A process drains within 20 s of SIGTERM.
  terminationGracePeriodSeconds: {{ $block.terminationGracePeriodSeconds }}
  {{- with $block.topologySpread.keys }}
  topologySpreadConstraints:
    {{- range . }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: {{ $block.topologySpread.whenUnsatisfiable }}
      labelSelector:
        matchLabels:
          {{- include "waybill.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ $name }}
    {{- end }}
  {{- end }}
  securityContext: {{- include "waybill.podSecurity" $root | nindent 4 }}
  containers:
    - name: {{ $name }}
      image: {{ include "waybill.image" $root | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      command: [waybill]
      args: [{{ $name }}, --config, /etc/waybill/config/waybill.json]
      env:
        # The name of this member of its consumer groups. Of a StatefulSet it ends in the ordinal, so a pod that comes
        # back is the member that it was, and gets its partitions without a rebalance.
        - {name: WAYBILL__MEMBER, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: WAYBILL__ADMIN__LISTEN, value: "0.0.0.0:9090"}
        {{- if $isApi }}
        - {name: WAYBILL__API__LISTEN, value: "0.0.0.0:8080"}
        - {name: WAYBILL__API__KEYS_FILE, value: /etc/waybill/keys/keys}
        {{- end }}
        {{- if and $facts.clickhouse (include "waybill.secretGiven" (dict "source" $values.clickhouse.password "path" "clickhouse.password")) }}
        - {name: WAYBILL__CLICKHOUSE__PASSWORD_FILE, value: /etc/waybill/clickhouse/password}
        {{- end }}
        {{- if and $facts.clickhouse $values.clickhouse.ca }}
        - {name: WAYBILL__CLICKHOUSE__CA_FILE, value: /etc/waybill/clickhouse/ca.crt}
        {{- end }}
        {{- if ne $facts.secrets "none" }}
        {{- range $slug, $carrier := $values.carriers }}
        {{- range $secret, $source := ($carrier).secrets }}
        {{- $variable := include "waybill.secretVariable" (dict "slug" $slug "name" $secret) }}
        {{- if eq $facts.secrets "values" }}
        - {name: {{ $variable }}, valueFrom: {secretKeyRef: {{ include "waybill.secretRef" (dict "source" $source "secretName" $fullname "own" (printf "carrier.%s.%s" $slug $secret)) }}}}
        {{- else }}
        - {name: {{ $variable }}, value: held-by-the-fetchers}
        {{- end }}
        {{- end }}
        {{- end }}
        {{- end }}
        {{- range $variable, $value := $block.env }}
        {{- /* Of two of one name the last counts: one member's name for all pods, say. */}}
        {{- if has $variable (list "WAYBILL__MEMBER" "WAYBILL__ADMIN__LISTEN" "WAYBILL__API__LISTEN" "WAYBILL__API__KEYS_FILE" "WAYBILL__CLICKHOUSE__PASSWORD_FILE" "WAYBILL__CLICKHOUSE__CA_FILE") }}
        {{- fail (printf "%s.env: %s is set by the chart" $name $variable) }}
        {{- end }}
        - {name: {{ $variable | quote }}, value: {{ $value | quote }}}
        {{- end }}
      ports:
        {{- if $isApi }}
        - {name: http, containerPort: 8080}
        {{- end }}
        - {name: admin, containerPort: 9090}
      # Over once everything is restored or refused: what is refused would be refused again by the next start. ClickHouse
      # may be away for as long as it likes.
      startupProbe:
        httpGet: {path: /health/started, port: admin}
        {{- toYaml $block.startupProbe | nindent 8 }}
      livenessProbe:
        httpGet: {path: /health/live, port: admin}
        {{- toYaml $block.livenessProbe | nindent 8 }}
      readinessProbe:
        httpGet: {path: /health/ready, port: admin}
        {{- toYaml $block.readinessProbe | nindent 8 }}
      securityContext: {{- include "waybill.containerSecurity" $root | nindent 8 }}
      resources: {{- toYaml $block.resources | nindent 8 }}
      volumeMounts: {{- toYaml $volumes.mounts | nindent 8 }}
  volumes: {{- toYaml $volumes.volumes | nindent 4 }}
{{- end -}}
