{{/* Who may talk to whom. */}}

{{/*
The namespace of an address inside the cluster: `kafka` is the release's own, `kafka.infra` and
`kafka-0.kafka.infra.svc.cluster.local` are infra's; empty for addresses outside.
Takes {root, host}.
*/}}
{{- define "waybill.namespaceOf" -}}
{{- $parts := splitList "." .host -}}
{{- if eq (len $parts) 1 -}}
{{- .root.Release.Namespace -}}
{{- else if has "svc" $parts -}}
{{- $before := "" -}}
{{- range $index, $part := $parts }}{{- if and (eq $part "svc") (gt $index 0) }}{{- $before = index $parts (sub $index 1) -}}{{- end -}}{{- end -}}
{{- $before -}}
{{- else if eq (len $parts) 2 -}}
{{- index $parts 1 -}}
{{- end -}}
{{- end -}}

{{/*
An egress rule to a server. Takes {root, rule, addresses (host:port), path}. Where the rule names nobody, the addresses
say where in the cluster the server is; outside it, somebody has to say.
*/}}
{{- define "waybill.egressTo" -}}
{{- $root := .root -}}
{{- $path := .path -}}
{{- $given := .rule.to -}}
{{- $peers := .rule.to | default list -}}
{{- $ports := .rule.ports | default list -}}
{{- $derived := list -}}
{{- range .addresses -}}
{{- $address := . -}}
{{- $host := regexReplaceAll ":[0-9]+$" $address "" -}}
{{- if empty $given -}}
{{- $namespace := include "waybill.namespaceOf" (dict "root" $root "host" $host) -}}
{{- if or (empty $namespace) (regexMatch "^[0-9.]+$" $host) (contains ":" $host) -}}
{{- fail (printf "networkPolicy.%s.to: %s is outside this cluster as far as its name tells; say where it is, e.g. [{ipBlock: {cidr: 192.0.2.0/24}}], or set networkPolicy.enabled: false" $path $address) -}}
{{- end -}}
{{- $peers = append $peers (dict "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" $namespace))) -}}
{{- end -}}
{{- $derived = append $derived (regexFind "[0-9]+$" $address | int) -}}
{{- end -}}
- to: {{- toYaml ($peers | uniq) | nindent 4 }}
  ports:
    {{- range ($ports | default $derived | uniq) }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end -}}

{{- define "waybill.egressToKafka" -}}
{{- $addresses := list -}}
{{- range splitList "," .Values.kafka.brokers -}}
{{- $address := trim . -}}
{{- $addresses = append $addresses (ternary $address (printf "%s:9092" $address) (regexMatch ":[0-9]+$" $address)) -}}
{{- end -}}
{{- include "waybill.egressTo" (dict "root" . "rule" .Values.networkPolicy.kafka "addresses" $addresses "path" "kafka") -}}
{{- end -}}

{{/* `host:port` of a URL; without a port it is the scheme's own. */}}
{{- define "waybill.addressOf" -}}
{{- $url := urlParse . -}}
{{- if regexMatch ":[0-9]+$" $url.host -}}{{ $url.host }}{{- else -}}{{ printf "%s:%s" $url.host (ternary "443" "80" (eq $url.scheme "https")) }}{{- end -}}
{{- end -}}

{{- define "waybill.egressToClickHouse" -}}
{{- $address := include "waybill.addressOf" .Values.clickhouse.url -}}
{{- include "waybill.egressTo" (dict "root" . "rule" .Values.networkPolicy.clickhouse "addresses" (list $address) "path" "clickhouse") -}}
{{- end -}}

{{- define "waybill.egressToOtlp" -}}
{{- $address := include "waybill.addressOf" .Values.telemetry.otlp.endpoint -}}
{{- include "waybill.egressTo" (dict "root" . "rule" .Values.networkPolicy.otlp "addresses" (list $address) "path" "otlp") -}}
{{- end -}}

{{- define "waybill.egressToDns" -}}
- to: {{- toYaml .Values.networkPolicy.dns.to | nindent 4 }}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end -}}

{{/* SEC-1: carriers are outside. No address of the cluster, of a private network, of the machine, or of cloud metadata. */}}
{{- define "waybill.egressToCarriers" -}}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except:
          - 0.0.0.0/8
          - 10.0.0.0/8
          - 100.64.0.0/10
          - 127.0.0.0/8
          - 169.254.0.0/16
          - 172.16.0.0/12
          - 192.0.0.0/24
          - 192.168.0.0/16
          - 198.18.0.0/15
          - 224.0.0.0/4
          - 240.0.0.0/4
          {{- range .Values.networkPolicy.carriers.except }}
          {{- if not (contains ":" .) }}
          - {{ . }}
          {{- end }}
          {{- end }}
    # Unique local, link-local and multicast addresses are not in it; addresses that embed IPv4 ones are left out.
    - ipBlock:
        cidr: 2000::/3
        except:
          - 2002::/16
          {{- range .Values.networkPolicy.carriers.except }}
          {{- if contains ":" . }}
          - {{ . | quote }}
          {{- end }}
          {{- end }}
  ports:
    {{- range .Values.networkPolicy.carriers.ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end -}}

{{/* Everything that is allowed to one component. Takes {root, name, clickhouse, carriers, kafka}. */}}
{{- define "waybill.egress" -}}
{{- $root := .root -}}
{{ include "waybill.egressToDns" $root }}
{{ include "waybill.egressToKafka" $root }}
{{- if .clickhouse }}
{{ include "waybill.egressToClickHouse" $root }}
{{- end }}
{{- if .carriers }}
{{ include "waybill.egressToCarriers" $root }}
{{- end }}
{{- if $root.Values.telemetry.otlp }}
{{ include "waybill.egressToOtlp" $root }}
{{- end }}
{{- with $root.Values.networkPolicy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end -}}
