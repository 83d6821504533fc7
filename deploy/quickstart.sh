#!/usr/bin/env bash
# From a bare clone to an answer: installs what is missing, builds, serves the demo model on two
# local workers, asks one question and prints the answer.
#
#   bash deploy/quickstart.sh           serves until Ctrl-C
#   bash deploy/quickstart.sh --once    stops after the answer; status 0 when it came
#
# PORT (default 8000) and RANKS (default 2) may be set in the environment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

once=false
case "${1:-}" in
  "") ;;
  --once) once=true ;;
  *)
    echo "usage: bash deploy/quickstart.sh [--once]" >&2
    exit 2
    ;;
esac
port=${PORT:-8000}
ranks=${RANKS:-2}
url="http://127.0.0.1:$port"
# A name of this run alone: whatever else answers at that port does not serve it.
model="sparkspan-demo-$$"

bash deploy/install.sh
echo "building (the first time takes some minutes)"
cmake --preset release -DSPARKSPAN_BUILD_TESTS=OFF >/dev/null
cmake --build --preset release --target sparkspan sparkspan-head sparkspan-worker -- --quiet

build/release/bin/sparkspan serve --model-path deploy/demo/model --ranks "$ranks" \
  --host 127.0.0.1 --port "$port" \
  --served-model-name sparkspan-demo --served-model-name "$model" &
server=$!
trap 'kill -TERM "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true' EXIT

# Asks the server itself whether it is ready, for at most two minutes.
ready=false
for _ in $(seq 240); do
  kill -0 "$server" 2>/dev/null || {
    echo "error: the server stopped; its last lines above say why" >&2
    exit 1
  }
  if curl --silent --fail --max-time 2 "$url/ready" >/dev/null 2>&1 &&
    curl --silent --fail --max-time 2 "$url/v1/models/$model" >/dev/null 2>&1; then
    ready=true
    break
  fi
  sleep 0.5
done
$ready || {
  echo "error: $url did not serve this run's model within two minutes; is another server there?" >&2
  exit 1
}

question="Count from 7 to 15."
echo
echo "serving at $url/v1 (model sparkspan-demo, $ranks workers)"
echo "asking: $question"
curl --silent --show-error --fail --max-time 60 "$url/v1/chat/completions" \
  -H 'Content-Type: application/json' \
  -d '{"model": "'"$model"'", "temperature": 0, "max_tokens": 200,
       "thinking": {"type": "disabled"},
       "messages": [{"role": "user", "content": "'"$question"'"}]}' |
  python3 -c 'import json, sys
reply = json.load(sys.stdin)
answer = reply["choices"][0]["message"]["content"]
assert answer, "the answer is empty"
print("answer:", answer)
print("tokens:", reply["usage"])'

if $once; then
  exit 0
fi
echo
echo "stop with Ctrl-C"
wait "$server"
