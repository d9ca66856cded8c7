#!/usr/bin/env bash
# Makes room for a whole build with its tests, when the disk has little: what cargo left of older builds is deleted, and said.
#   CARGO_TARGET_DIR is the folder. With dependencies built, a whole run took 3 GiB of disk; 12 GiB leave room for building
#   those too and for what tests write.
set -euo pipefail

target=${CARGO_TARGET_DIR:?}
need_kib=$((12 * 1024 * 1024))
free_kib() { df --output=avail -k "$target" | tail -n 1; }

mkdir -p "$target"
[ "$(free_kib)" -ge "$need_kib" ] && exit 0
echo "room: less than 12 GiB free in $target; deleting what older builds left there"
# Programs of tests and incremental state, which the next build makes anew; compiled dependencies stay.
rm -rf "$target"/debug/incremental "$target"/release/incremental
find "$target"/*/deps -maxdepth 1 -type f -executable ! -name '*.so' -delete 2>/dev/null || true
[ "$(free_kib)" -ge "$need_kib" ] || echo "room: still only $(($(free_kib) / 1024)) MiB free; the tests may end for want of disk" >&2
