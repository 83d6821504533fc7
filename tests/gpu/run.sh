#!/bin/sh
# The first hour on a GPU, in one command: builds for the card it finds, runs every kernel test on
# it, replays the emulator's stored vectors, lets the sanitizers look if they are installed, measures
# bandwidth, and writes one report. Without a card it compiles everything for every chip and says
# that the rest was skipped.
#
# Usage: tests/gpu/run.sh [build folder] (default build/gpu); from the repository root.
set -eu
build=${1:-build/gpu}
report=$build/report.txt
mkdir -p "$build"
: >"$report"
say() { printf '%s\n' "$*" | tee -a "$report"; }

capability=none
if command -v nvidia-smi >/dev/null 2>&1; then
  capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1) ||
    capability=none
fi
bus=232
case $capability in
  12.1) architectures=121a-real ;;
  12.0) architectures=120a-real bus=1660 ;;
  9.0) architectures=90a-real bus=3400 ;;
  *) architectures='121a-real;120a-real;90a-real' capability=none ;;
esac
say "commit $(git rev-parse --short HEAD), compute capability $capability, for $architectures"

cmake --preset cuda -B "$build" -DCMAKE_CUDA_ARCHITECTURES="$architectures" >"$build/configure.log"
cmake --build "$build" --target kernels_gpu_test kernels_bandwidth >"$build/build.log" ||
  { tail -n 40 "$build/build.log"; say "FAILED: build"; exit 1; }
say "built: $(nvcc --version | tail -n 1)"

if [ "$capability" = none ]; then
  say "SKIPPED: tests, vectors, sanitizers and bandwidth: no supported GPU here"
  exit 0
fi
nvidia-smi --query-gpu=name,clocks.sm,clocks.mem,power.draw --format=csv,noheader | tee -a "$report"

status=0
test_program=$(find "$build" -name kernels_gpu_test -type f | head -n 1)
bandwidth=$(find "$build" -name kernels_bandwidth -type f | head -n 1)
if SPARKSPAN_VECTORS_READ=tests/gpu/vectors.csv "$test_program" >"$build/tests.log" 2>&1; then
  say "passed: $(grep -c '\[       OK \]' "$build/tests.log") tests, vectors replayed"
else
  status=1
  say "FAILED: tests"
fi
grep -E 'FAILED|worst|relative rms|codes differ' "$build/tests.log" | tee -a "$report"

if command -v compute-sanitizer >/dev/null 2>&1; then
  for tool in memcheck racecheck synccheck initcheck; do
    # Sanitizers look at each kernel; layers at their full size would only repeat that slowly.
    if compute-sanitizer --tool "$tool" --error-exitcode 9 "$test_program" \
        --gtest_filter=-*Overlap* >"$build/$tool.log" 2>&1; then
      say "passed: $tool"
    else
      status=1
      say "FAILED: $tool"
      tail -n 20 "$build/$tool.log" | tee -a "$report"
    fi
  done
else
  say "SKIPPED: sanitizers: compute-sanitizer is not installed"
fi

# Not through a pipe, which would hide that it failed.
"$bandwidth" "$bus" >"$build/bandwidth.csv" || { status=1; say "FAILED: bandwidth"; }
tee -a "$report" <"$build/bandwidth.csv"
say "report: $report"
exit $status
