#!/usr/bin/env bash
# Lints and renders the chart with helm, which is built once from its Go module into the cache when the machine has none.
set -euo pipefail
cd "$(dirname "$0")/.."

version=v3.22.0
cache=${WAYBILL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/waybill}
helm=$(command -v helm || true)
[ -n "$helm" ] || helm=$cache/helm-$version/helm
if [ ! -x "$helm" ]; then
    if [ "${WAYBILL_NO_INSTALL:-}" = 1 ]; then
        echo "helm-lint: helm is missing and WAYBILL_NO_INSTALL=1 forbids installing it" >&2
        exit 1
    fi
    if ! command -v go >/dev/null; then
        if [ -n "${CI:-}" ]; then
            echo "helm-lint: neither helm nor go is installed; the chart cannot be checked" >&2
            exit 1
        fi
        echo "helm-lint: skipped, neither helm nor go is installed"
        exit 0
    fi
    echo "helm-lint: building helm $version from its Go module into $cache (once, about 2 minutes)"
    GOBIN=$cache/helm-$version GOFLAGS= go install "helm.sh/helm/v3/cmd/helm@$version"
fi
# Built from its module, helm takes a very old Kubernetes for granted.
kube=(--kube-version 1.34.0)
"$helm" lint --strict "${kube[@]}" helm/waybill
"$helm" template "${kube[@]}" waybill helm/waybill >/dev/null
echo "helm-lint: the chart lints and renders with no values at all"
