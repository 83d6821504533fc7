#!/usr/bin/env bash
# Installs what is missing, builds, and runs the tests.
#
#   bash tests/run.sh           everything a change must pass (at most 25 minutes on two cores)
#   bash tests/run.sh --long    also: sanitizers over the unit tests; the tree built for aarch64 and
#                               its tests of kernels and text under qemu-user; the image and the
#                               compose file on two Docker engines
#   bash tests/run.sh --cuda    also: the CUDA kernels for every chip, what they take, and whether the
#                               tables of docs/performance are what the kernels are now
#   bash tests/run.sh --soak    also, without the sanitizers: 200 faults of real processes,
#                               20,000 sampled texts
#
# A test that skips itself is listed with its reason; the last line counts what ran.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tier=default
case "${1:-}" in
  "") ;;
  --long) tier=long ;;
  --cuda) tier=cuda ;;
  --soak) tier=soak ;;
  *)
    echo "usage: bash tests/run.sh [--long|--cuda|--soak]" >&2
    exit 2
    ;;
esac

bash deploy/install.sh

# Packages that tests use: openai drives the API as its users do, clang-format judges the sources.
# Kept out of the system's Python; without them (no package index to be had) those tests say that
# they were skipped.
test_python=build/test-python
if [[ ! -x $test_python/bin/python3 ]]; then
  python3 -m venv "$test_python"
fi
"$test_python/bin/pip" install --quiet --disable-pip-version-check -r tests/requirements.txt ||
  echo "warning: the packages of tests/requirements.txt could not be installed" >&2

build_preset() {
  local preset=$1
  echo "== $preset: configure and build"
  cmake --preset "$preset" >"build-$preset.log" 2>&1 || {
    cat "build-$preset.log" >&2
    return 1
  }
  rm -f "build-$preset.log"
  cmake --build --preset "$preset" -- --quiet
}

# Runs the tests of a built folder, leaving out the ctest labels in the second argument.
test_folder() {
  local folder=$1 excluded_labels=$2
  echo "== $folder: test"
  ctest --test-dir "build/$folder" --output-on-failure -j 2 -LE "$excluded_labels" \
    --no-tests=error
}

# Fails unless a table of docs/performance is what was made of it just now.
check_table() {
  local made=$1 table=docs/performance/$2
  diff --brief "$made" "$table" || {
    echo "$table is not what the kernels are now: copy $made over it" >&2
    return 1
  }
}

# The evidence of docs/performance: what the chips' compiler makes of the kernels (where there is
# one), the model, and what the tests notice. kernels_families_test itself, in every tier, judges
# the tables of traffic and of closeness.
check_cuda() {
  if command -v nvcc >/dev/null; then
    echo "== cuda: the kernels for every chip"
    cmake --preset cuda >build-cuda.log 2>&1 || { cat build-cuda.log >&2; return 1; }
    rm -f build-cuda.log
    cmake --build --preset cuda --target kernels_gpu_test kernels_bandwidth kernels_resources -- \
      --quiet
    check_table build/cuda/tests/gpu/resources.csv resources.csv
  else
    skipped="SKIPPED: the CUDA build and its resources: nvcc is not installed"
  fi
  local made=build/evidence tests=build/release/tests/unit/kernels
  mkdir -p "$made"
  echo "== cuda: prediction"
  python3 docs/performance/predict.py --write "$made/prediction.csv"
  check_table "$made/prediction.csv" prediction.csv
  echo "== cuda: deleted barriers"
  python3 tests/gpu/delete_barriers.py --write "$made/deleted_barriers.csv" \
    --dialect "$tests/simt/kernels_simt_test" \
    "$tests/families/kernels_families_test" "$tests/families/kernels_golden_test"
  check_table "$made/deleted_barriers.csv" deleted_barriers.csv
}

skipped=
build_preset release
test_folder release 'gpu|slow|engines'
if [[ $tier == long ]]; then
  build_preset asan
  test_folder asan 'gpu|slow|integration'
  build_preset tsan
  test_folder tsan 'gpu|slow|fiber|integration'
  if [[ $(uname -m) != aarch64 ]]; then
    bash deploy/install.sh --cross
    build_preset aarch64
    test_folder aarch64/tests/unit/kernels 'gpu|slow'
    test_folder aarch64/tests/unit/engine/text 'gpu|slow'
  fi
  echo "== image and compose"
  python3 tests/integration/compose_test.py
fi
if [[ $tier == cuda ]]; then
  check_cuda
fi
if [[ $tier == soak ]]; then
  echo "== soak: faults of real processes"
  python3 tests/integration/faults_test.py 200
  echo "== soak: sampled texts with drafts"
  SPARKSPAN_SAMPLED_TEXTS=20000 build/release/tests/golden/golden_drafted_text_test \
    --gtest_filter='DraftedSampling*'
fi

# GoogleTest's skips are passes to ctest: name each one, so that none is silent.
python3 tests/report_skipped.py build/release/Testing/Temporary/LastTest.log
if [[ -n $skipped ]]; then
  echo "$skipped"
fi
