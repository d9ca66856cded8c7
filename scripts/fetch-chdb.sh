#!/usr/bin/env bash
# Fetches the embedded ClickHouse (chDB, a library) once, pinned and checksummed, into Waybill's cache folder.
# Safe to run again, and by several processes at once. WAYBILL_NO_INSTALL=1 forbids the download.
set -euo pipefail

package='@chdb/lib-linux-x64-gnu@26.7.3-stable.1'
integrity='XP97mMqnc5tZpKQywR8N7cLTsHNiTmHr30pC5mzo3jWmukjKn2IBa60c2B/gWUNcuFjOMjWoorQICCqBVj5wpw=='
library_bytes=566330096

cache="${WAYBILL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/waybill}"
folder="$cache/chdb-26.7.3"
library="$folder/libchdb.so"

fail() {
    echo "fetch-chdb: $*" >&2
    exit 1
}

# It gets its name only when it is whole, so its size is proof enough that nothing cut it later.
present() {
    [ -f "$library" ] && [ "$(wc -c <"$library")" -eq "$library_bytes" ]
}

if present; then
    exit 0
fi

if [ "$(uname -s)" != Linux ] || [ "$(uname -m)" != x86_64 ]; then
    fail "the embedded ClickHouse exists for 64-bit linux on x86 only: run 'waybill standalone --store-url URL' against a ClickHouse of your own"
fi

if [ "${WAYBILL_NO_INSTALL:-}" = 1 ]; then
    fail "missing: $library (the npm package $package); WAYBILL_NO_INSTALL=1 forbids fetching it"
fi

for tool in npm tar openssl flock; do
    command -v "$tool" >/dev/null || fail "missing: the program '$tool', needed to fetch the embedded ClickHouse"
done

mkdir -p "$folder"
# One at a time; whoever waited finds it done. The lock goes with the process, however it ends.
exec 9>"$folder/fetch.lock"
flock 9
if present; then
    exit 0
fi

echo "fetch-chdb: will download the npm package $package (178 MB, unpacks to 566 MB)"
echo "fetch-chdb: into $folder"

work="$(mktemp -d "$folder/fetch.XXXXXX")"
trap 'rm -rf "$work"' EXIT

# Leftovers of runs that were killed; the lock says that nobody uses them.
find "$folder" -mindepth 1 -maxdepth 1 -name 'fetch.??????' ! -path "$work" -exec rm -rf {} +

(cd "$work" && npm pack --silent "$package" >/dev/null) || fail "npm could not fetch $package: is the registry reachable?"
archive="$(find "$work" -maxdepth 1 -name '*.tgz' | head -n 1)"
[ -n "$archive" ] || fail "npm fetched no archive for $package"

actual="$(openssl dgst -sha512 -binary "$archive" | openssl base64 -A)"
[ "$actual" = "$integrity" ] || fail "the archive of $package is not the pinned one (sha512-$actual): nothing was installed"

tar -xzf "$archive" -C "$work" package/libchdb.so || fail "the archive of $package cannot be unpacked: is the disk full?"
mv -f "$work/package/libchdb.so" "$library"
present || fail "$library has not the expected size: remove it and run this again"
echo "fetch-chdb: done"
