#!/usr/bin/env bash
# Fetches what the project needs and the machine lacks, once, into the cache. Says first what it will do.
#   WAYBILL_NO_INSTALL=1 forbids any fetching and names what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
for tool in cargo cc npm; do
    command -v "$tool" >/dev/null || missing+=("$tool")
done
if [ "${#missing[@]}" -gt 0 ]; then
    echo "setup: ${missing[*]} not found; install a Rust toolchain (rustup), a C compiler and Node.js first" >&2
    exit 1
fi

scripts/fetch-chdb.sh
if [ -n "${CI:-}" ] || [ "${WAYBILL_WITH_PYTHON:-}" = 1 ]; then
    scripts/fetch-python.sh
fi
