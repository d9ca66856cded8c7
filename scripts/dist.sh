#!/usr/bin/env bash
# Packs a built program into a release: a tarball with checksum, the same bytes each time for the same program.
#
#   scripts/dist.sh PROGRAM OUT      writes OUT/waybill-VERSION-TARGET.tar.gz and .sha256, prints the tarball's path
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "dist: $*" >&2
    exit 1
}

[ $# -eq 2 ] || fail "usage: dist.sh PROGRAM OUT"
program=$1 out=$2
[ -x "$program" ] || fail "$program is no program; \`make dist\` builds it first"

version="$("$program" --version | awk '{print $2}')"
[ -n "$version" ] || fail "$program does not tell its version"
target="$(uname -m)-$(uname -s | tr '[:upper:]' '[:lower:]')"
name="waybill-$version-$target"

# What the image's base and any usual Linux have. Anything else would be missing where the tarball is unpacked.
if [ "$(uname -s)" = Linux ] && command -v ldd >/dev/null; then
    foreign="$(ldd "$program" | awk '{print $1}' | sed -n 's|.*/||; /\.so/p' |
        grep -vE '^(linux-vdso|ld-linux[a-z0-9-]*|libc|libm|libdl|libpthread|librt|libgcc_s|libstdc\+\+|libssl|libcrypto|libz)\.so' || true)"
    [ -z "$foreign" ] || fail "$program needs shared libraries that a release may not need: $foreign"
fi

mkdir -p "$out"
work="$(mktemp -d "$out/.dist.XXXXXX")"
trap 'rm -rf "$work"' EXIT
stage="$work/$name"
mkdir -p "$stage/schemas/"{json,topics} "$stage/examples/consumers/"{python,node,java}
install -m 755 "$program" "$stage/waybill"
if command -v strip >/dev/null; then strip "$stage/waybill"; fi
install -m 644 LICENSE CHANGELOG.md "$stage/"
install -m 644 examples/*.yaml "$stage/examples/"
cp -R helm/waybill "$stage/chart"
install -m 644 schemas/asyncapi.json "$stage/schemas/"
install -m 644 schemas/json/*.json "$stage/schemas/json/"
install -m 644 schemas/topics/*.yaml "$stage/schemas/topics/"
# By name: libraries that somebody fetched to try them may lie beside them.
for file in README.md python/{consume.py,requirements.txt} node/{consume.mjs,package.json,package-lock.json} java/{Consume.java,pom.xml}; do
    install -m 644 "examples/consumers/$file" "$stage/examples/consumers/$file"
done
cat >"$stage/README.md" <<README
# Waybill $version

\`./waybill --help\` lists what it does. Adapters and migrations are inside the program.

- **In a cluster**: \`helm install waybill chart/\` beside Apache Kafka and ClickHouse; \`chart/README.md\` says more.
- **To read the topics**: \`schemas/asyncapi.json\` describes them; \`examples/consumers\` does it in Python, Node and Java.
- **On one machine, with a ClickHouse server**: \`./waybill standalone --store-url http://HOST:8123\`.
- **On one machine alone** (64-bit Linux on x86): \`./waybill standalone\` wants the embedded ClickHouse, which is not in this
  archive (178 MB). Fetch it once and say where it is:

      npm pack '$(sed -n "s/^package='\(.*\)'$/\1/p" scripts/fetch-chdb.sh)'
      tar -xzf chdb-lib-linux-x64-gnu-*.tgz package/libchdb.so
      export WAYBILL_CHDB_LIB=\$PWD/package/libchdb.so

Needs on Linux: glibc, OpenSSL 3, zlib, and certificates of authorities (\`ca-certificates\`). Licence: Apache-2.0.
README
find "$stage" -exec touch --no-dereference --date=@"${SOURCE_DATE_EPOCH:-0}" {} +

tarball="$out/$name.tar.gz"
tar --sort=name --owner=0 --group=0 --numeric-owner --mode=go-w -C "$work" -cf - "$name" | gzip -n >"$work/tarball"
mv -f "$work/tarball" "$tarball"
(cd "$out" && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
echo "$tarball"
