#!/usr/bin/env bash
# Builds the fuzzers with clang and runs them, one after the other.
#
#   bash tests/fuzz/run.sh SECONDS [TARGET ...]   SECONDS each; all targets without names
#
# Prints a line per target: inputs tried, edges covered, what was found. New inputs stay in
# build/fuzz/inputs; an input that crashes stays in build/fuzz/crashes: mend, and add it to
# tests/fuzz/corpus. Exits with 1 after a crash.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if (($# < 1)) || ! [[ $1 =~ ^[1-9][0-9]*$ ]]; then
  echo "usage: bash tests/fuzz/run.sh SECONDS [TARGET ...]" >&2
  exit 2
fi
seconds=$1
shift
if ! command -v clang++ >/dev/null; then
  echo "skipped: there is no clang++ (Debian: clang)" >&2
  exit 77
fi

targets=("$@")
if ((${#targets[@]} == 0)); then
  mapfile -t targets < <(basename -a -s .cc tests/fuzz/*_fuzz.cc)
fi
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz --target "${targets[@]}" -- --quiet

status=0
for target in "${targets[@]}"; do
  inputs=build/fuzz/inputs/$target
  crashes=build/fuzz/crashes/$target
  log=build/fuzz/$target.log
  mkdir -p "$inputs" "$crashes"
  found=nothing
  build/fuzz/tests/fuzz/"$target" -max_total_time="$seconds" -timeout=25 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix="$crashes/" \
    "$inputs" "tests/fuzz/corpus/${target%_fuzz}" >"$log" 2>&1 || {
    status=1
    found="a failure: $log"
  }
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
  printf '%-28s %9s inputs %6s edges  found %s\n' "$target" "${runs:-?}" "${covered:-?}" "$found"
done
exit "$status"
