#!/usr/bin/env bash
# Makes the Python environment of the tests that read the store with clickhouse-connect, once, pinned, in Waybill's
# cache folder. Safe to run again, and by several processes at once. WAYBILL_NO_INSTALL=1 forbids it.
set -euo pipefail

requirements=('clickhouse-connect==1.12.0')

cache="${WAYBILL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/waybill}"
folder="$cache/py"
stamp="$folder/.waybill-requirements"

fail() {
    echo "fetch-python: $*" >&2
    exit 1
}

# The stamp is written last, so it stands only in a complete environment.
present() {
    [ -x "$folder/bin/python" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "${requirements[*]}" ]
}

if present; then
    exit 0
fi

if [ "${WAYBILL_NO_INSTALL:-}" = 1 ]; then
    fail "missing: $folder (a Python environment with ${requirements[*]}); WAYBILL_NO_INSTALL=1 forbids making it"
fi

for tool in python3 flock; do
    command -v "$tool" >/dev/null || fail "missing: the program '$tool', needed for the Python tests"
done

mkdir -p "$cache"
exec 9>"$cache/fetch-python.lock"
flock 9
if present; then
    exit 0
fi

echo "fetch-python: will install with pip: ${requirements[*]} and what they need (about 15 MB)"
echo "fetch-python: into $folder"

rm -rf "$folder"
python3 -m venv "$folder" || fail "python3 cannot make an environment: is its venv module installed?"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check "${requirements[@]}" || fail "pip could not install ${requirements[*]}: is the registry reachable?"
printf '%s' "${requirements[*]}" >"$stamp"
echo "fetch-python: done"
