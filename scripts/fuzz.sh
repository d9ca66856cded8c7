#!/usr/bin/env bash
# Fuzzes the readers of adapters/engine: fuzz.sh [TARGET|all] [SECONDS]. Corpora are seeded from the carriers' examples and
# kept in the cache, so that each run goes on where the last one ended.
set -euo pipefail

target=${1:-all}
seconds=${2:-60}
here=$(cd "$(dirname "$0")/.." && pwd)
cache=${WAYBILL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/waybill}/fuzz
all="html html_parsers json xml charset times adapter mapping draft"

if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
  echo "fuzzing needs the nightly compiler and cargo-fuzz: rustup toolchain install nightly && cargo install cargo-fuzz" >&2
  exit 1
fi
# Seeds are at most a page long; libFuzzer finds the rest. With PREFIX=carrier, a byte before each says which carrier reads it.
carriers=$(cd "$here/adapters/carriers" && LC_ALL=C ls -d -- */ | tr -d /)
seed() { # target, then find's arguments
  local to=$cache/corpus/$1 n=0 slug which
  shift
  mkdir -p "$to"
  while IFS= read -r -d '' file; do
    n=$((n + 1))
    if [ "${PREFIX:-}" = carrier ]; then
      slug=${file#"$here/adapters/carriers/"}
      which=$(grep -nx -- "${slug%%/*}" <<<"$carriers" | cut -d: -f1 || true)
      { printf "\\x$(printf %02x $((${which:-1} - 1)))" && cat "$file"; } >"$to/seed-$n"
    else
      cp "$file" "$to/seed-$n"
    fi
  done < <(find "$here/adapters/carriers" "$here/adapters/phrases" -type f -size -64k "$@" -print0 | sort -z)
}

[ "$target" = all ] && targets=$all || targets=$target
export CARGO_TARGET_DIR=$cache/target
for target in $targets; do
  case $target in
    html_parsers) seed "$target" -name '*.html' ;;
    html) PREFIX=carrier seed html -name '*.html' ;;
    json) PREFIX=carrier seed json -name '*.json' ! -name 'expected.json' ;;
    xml) PREFIX=carrier seed xml -name '*.xml' ;;
    charset | draft) seed "$target" \( -name '*.html' -o -name '*.xml' -o -name 'page.json' -o -name 'detail.json' \) ;;
    adapter) seed adapter -name 'adapter.yaml' ;;
    mapping) seed mapping -path '*/carriers/*' -name 'mapping.yaml' ;;
    times)
      mkdir -p "$cache/corpus/times"
      printf '%%d %%b %%Y[, %%I:%%M %%p]\n3 Mar 2026, 2:05 p.m.' >"$cache/corpus/times/seed-1"
      printf 'iso\n2026-03-03T14:05:00+02:00' >"$cache/corpus/times/seed-2"
      printf '/Date(%%Q[%%z])/\n/Date(1772546700123+0200)/' >"$cache/corpus/times/seed-3"
      ;;
    *) echo "there is no target $target; there are $all" >&2 && exit 1 ;;
  esac
  mkdir -p "$cache/artifacts/$target"
  echo "== $target, $seconds s"
  # A unit that takes longer than this or more than 1 GiB is a finding like a crash. It is wall time: on a loaded machine
  # give it more.
  (cd "$here" && nice -n 19 cargo +nightly fuzz run "$target" "$cache/corpus/$target" -- \
    -max_total_time="$seconds" -timeout="${WAYBILL_FUZZ_TIMEOUT:-10}" -rss_limit_mb=1024 -max_len=65536 -artifact_prefix="$cache/artifacts/$target/" \
    -print_final_stats=1 2>&1 | grep -E '^(#[0-9]+.*(DONE|NEW_FUNC)|stat::|SUMMARY|==|thread|.*panicked|Done )' || exit "${PIPESTATUS[0]}")
done
