#!/usr/bin/env bash
# Fetches what the example consumers need (examples/consumers), once, pinned, into Waybill's cache folder, and prints for each
# the command that runs it, a line each: `python …`, `node …`, `java …`. WAYBILL_NO_INSTALL=1 forbids fetching.
set -euo pipefail

here="$(cd "$(dirname "$0")/.." && pwd)/examples/consumers"
cache="${WAYBILL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/waybill}"
folder="$cache/consumers"
wanted="$(cat "$here"/python/requirements.txt "$here"/node/package-lock.json "$here"/java/pom.xml | sha256sum | cut -c1-16)"

fail() {
    echo "example-consumers: $*" >&2
    exit 1
}

# The stamp is written last, so it stands only in a complete folder.
present() {
    [ -f "$folder/.complete" ] && [ "$(cat "$folder/.complete")" = "$wanted" ]
}

fetch() {
    if [ "${WAYBILL_NO_INSTALL:-}" = 1 ]; then
        fail "missing: $folder (libraries of the example consumers); WAYBILL_NO_INSTALL=1 forbids fetching them"
    fi
    for tool in python3 node npm java mvn flock; do
        command -v "$tool" >/dev/null || fail "missing: the program '$tool', needed for the example consumers"
    done
    mkdir -p "$cache"
    exec 9>"$cache/fetch-consumers.lock"
    flock 9
    present && return
    echo "example-consumers: will fetch with pip, npm and Maven what examples/consumers names (about 40 MB)" >&2
    echo "example-consumers: into $folder" >&2
    rm -rf "$folder"
    mkdir -p "$folder/node"
    python3 -m venv "$folder/py" >&2
    "$folder/py/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/python/requirements.txt" >&2 \
        || fail "pip could not install what the Python example needs"
    cp "$here"/node/package.json "$here"/node/package-lock.json "$folder/node/"
    (cd "$folder/node" && npm ci --silent --no-audit --no-fund >&2) || fail "npm could not install what the Node example needs"
    mvn -q -B -f "$here/java/pom.xml" dependency:copy-dependencies -DoutputDirectory="$folder/java" >&2 \
        || fail "Maven could not fetch what the Java example needs"
    printf '%s' "$wanted" >"$folder/.complete"
    echo "example-consumers: done" >&2
    exec 9>&-
}

present || fetch
# Node looks for libraries beside the file that imports them.
cp "$here/node/consume.mjs" "$folder/node/consume.mjs"
echo "python $folder/py/bin/python $here/python/consume.py"
echo "node node $folder/node/consume.mjs"
echo "java java -cp $folder/java/* $here/java/Consume.java"
