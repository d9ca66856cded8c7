#!/usr/bin/env bash
# A real OTLP receiver for the test of traces: the OpenTelemetry Collector, composed of its OTLP receiver and its file
# exporter only, built by Go from its modules, pinned, once, into Waybill's cache folder.
#
#   scripts/otel-collector.sh build      builds it if it is not there, and prints where it is
#
# Safe to run again, and by several processes at once. WAYBILL_NO_INSTALL=1 forbids building.
# Exit 3: Go is missing and nothing was built; tests outside CI take that for "skip", in CI for a failure.
set -euo pipefail

collector=v0.160.0
modules=v1.66.0
contrib=v0.160.0

cache="${WAYBILL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/waybill}"
folder="$cache/otel-collector-$collector"

fail() {
    echo "otel-collector: $*" >&2
    exit "${code:-1}"
}

export GOFLAGS='' GOWORK=off GO111MODULE=on CGO_ENABLED=0

[ "${1:-}" = build ] || fail "usage: otel-collector.sh build"
if [ ! -x "$folder/collector" ]; then
    if [ "${WAYBILL_NO_INSTALL:-}" = 1 ]; then
        fail "missing: the OpenTelemetry Collector $collector; WAYBILL_NO_INSTALL=1 forbids building it"
    fi
    command -v go >/dev/null || code=3 fail "missing: the OpenTelemetry Collector, and Go to build it with"
    command -v flock >/dev/null || fail "missing: the program 'flock'"
    mkdir -p "$cache"
    exec 9>"$cache/otel-collector.lock"
    flock 9
    if [ ! -x "$folder/collector" ]; then
        echo "otel-collector: will build the OpenTelemetry Collector $collector from its Go modules into $folder (once, about 3 minutes)" >&2
        work="$(mktemp -d "$cache/build.XXXXXX")"
        trap 'rm -rf "$work"' EXIT
        cat >"$work/main.go" <<'GO'
// An OpenTelemetry Collector of two parts: what receives OTLP, and what writes it to a file.
package main

import (
	"log"

	"github.com/open-telemetry/opentelemetry-collector-contrib/exporter/fileexporter"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
)

func components() (otelcol.Factories, error) {
	receivers, err := otelcol.MakeFactoryMap[receiver.Factory](otlpreceiver.NewFactory())
	if err != nil {
		return otelcol.Factories{}, err
	}
	exporters, err := otelcol.MakeFactoryMap[exporter.Factory](fileexporter.NewFactory())
	return otelcol.Factories{Receivers: receivers, Exporters: exporters, Telemetry: otelconftelemetry.NewFactory()}, err
}

func main() {
	settings := otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{Command: "collector", Description: "OTLP to a file", Version: "test"},
		Factories: components,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{ResolverSettings: confmap.ResolverSettings{
			ProviderFactories: []confmap.ProviderFactory{fileprovider.NewFactory()},
			DefaultScheme:     "file",
		}},
	}
	if err := otelcol.NewCommand(settings).Execute(); err != nil {
		log.Fatal(err)
	}
}
GO
        (
            cd "$work" \
                && go mod init collector \
                && go mod edit -require "go.opentelemetry.io/collector/otelcol@$collector" \
                -require "go.opentelemetry.io/collector/receiver/otlpreceiver@$collector" \
                -require "go.opentelemetry.io/collector/component@$modules" \
                -require "github.com/open-telemetry/opentelemetry-collector-contrib/exporter/fileexporter@$contrib" \
                && go mod tidy -e \
                && go build -p 2 -trimpath -ldflags '-s -w' -o collector .
        ) >"$work/build.log" 2>&1 || { tail -8 "$work/build.log" >&2; fail "the collector cannot be built: is the Go module proxy reachable?"; }
        mkdir -p "$folder"
        mv -f "$work/collector" "$folder/collector"
        rm -rf "$work"
        trap - EXIT
        echo "otel-collector: done" >&2
    fi
    exec 9>&-
fi
echo "$folder/collector"
