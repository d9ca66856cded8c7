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

# rustup fetches the pinned toolchain by itself at cargo's first call, which is said first like everything else.
pinned="$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)"
if [ -z "${RUSTUP_TOOLCHAIN:-}" ] && command -v rustup >/dev/null && ! grep -q "^$pinned" <<<"$(rustup toolchain list)"; then
    if [ "${WAYBILL_NO_INSTALL:-}" = 1 ]; then
        echo "setup: missing: the Rust toolchain $pinned (\`rustup toolchain install\` here fetches it); WAYBILL_NO_INSTALL=1 forbids it" >&2
        exit 1
    fi
    echo "setup: rustup will fetch the Rust toolchain $pinned"
fi

# The Kafka client is built from C: it wants make and the headers of OpenSSL and zlib.
packages=()
command -v make >/dev/null || packages+=(make)
command -v pkg-config >/dev/null || packages+=(pkg-config)
[ -e /usr/include/openssl/ssl.h ] || packages+=(libssl-dev)
[ -e /usr/include/zlib.h ] || packages+=(zlib1g-dev)
if [ "${#packages[@]}" -gt 0 ]; then
    if [ "${WAYBILL_NO_INSTALL:-}" = 1 ] || ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
        echo "setup: missing: ${packages[*]} (names of Debian packages); install them first" >&2
        exit 1
    fi
    echo "setup: will install with apt-get: ${packages[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
fi

scripts/fetch-chdb.sh
# A JDK and Maven are asked for only where the tests against a real Kafka run.
if command -v java >/dev/null && command -v mvn >/dev/null; then
    scripts/kafka.sh fetch
elif [ -n "${CI:-}" ]; then
    echo "setup: java and mvn not found; the tests against a real Kafka need a JDK of 17 or newer and Maven" >&2
    exit 1
fi
if [ -n "${CI:-}" ] || [ "${WAYBILL_WITH_PYTHON:-}" = 1 ]; then
    scripts/fetch-python.sh
fi
