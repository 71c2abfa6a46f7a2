#!/usr/bin/env bash
# Walks through an approval against the real binary: a guard pauses a run, a person approves it, the run completes.
# Needs curl, and the binary (`make build`, or AEGIS=path).
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
aegis="${AEGIS:-$here/../../target/debug/aegis}"
port="${PORT:-8017}"
work="$(mktemp -d)"
server=
trap '[ -z "$server" ] || { kill "$server" 2>/dev/null; wait "$server" 2>/dev/null || true; }; rm -rf "$work"' EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
field() { sed -nE "s/.*\"$1\":\"([^\"]*)\".*/\1/p" | head -1; } # first string field of that name; enough for this script
expect() { [ "$2" = "$3" ] || { echo "expected $1 to be $3, got: $2" >&2; exit 1; }; }
call() { # call KEY METHOD PATH [BODY]
  curl -sS --fail-with-body -X "$2" -H "Authorization: Bearer $1" ${4:+-d "$4"} "$AEGIS_SERVER_URL$3"
}
start() {
  "$aegis" serve --config "$work/aegis.yaml" --listen "127.0.0.1:$port" 2>"$work/log" &
  server=$!
  for _ in $(seq 100); do curl -sf "$AEGIS_SERVER_URL/readyz" >/dev/null && return; sleep 0.1; done
  cat "$work/log" >&2; exit 1
}

export AEGIS_SERVER_URL="http://127.0.0.1:$port"
sed "s|\.\./\.\.|$here/../..|" "$here/aegis.yaml" >"$work/aegis.yaml"

say "1. Two keys: alice asks, bob decides"
alice="$("$aegis" keys create --config "$work/aegis.yaml" --principal alice --role user)"
bob="$("$aegis" keys create --config "$work/aegis.yaml" --principal bob --role approver)"

say "2. The server starts; every run goes through the guard sensitive-topic"
start
echo "listening on $AEGIS_SERVER_URL, approvals page: $AEGIS_SERVER_URL/approvals"

say "3. alice asks about the weather: allowed, answered"
answer="$(call "$alice" POST /v1/runs '{"messages":[{"role":"user","content":"How is the weather?"}]}')"
expect status "$(field status <<<"$answer")" completed
echo "completed: $(field response <<<"$answer")"

say "4. alice asks for financial advice: the guard wants a person to decide, the run is checkpointed"
answer="$(call "$alice" POST /v1/runs '{"messages":[{"role":"user","content":"Please give me financial advice."}],"background":true}')"
run="$(field run_id <<<"$answer")"
expect status "$(field status <<<"$answer")" paused
echo "paused: run $run, \"$(field prompt <<<"$answer")\""

say "5. The server is killed and started again; nothing is lost"
kill -9 "$server"; wait "$server" 2>/dev/null || true
start
expect status "$(call "$alice" GET "/v1/runs/$run" | field status)" paused

say "6. alice may not decide herself"
refused="$(call "$alice" POST "/v1/runs/$run/resume" '{"decision":"approved"}' || true)"
expect code "$(field code <<<"$refused")" AEG-AUTH-003
echo "refused: $(field code <<<"$refused")"

say "7. bob sees what waits for him, and approves"
AEGIS_API_KEY="$bob" "$aegis" runs list --pending
answer="$(call "$bob" POST "/v1/runs/$run/resume" '{"decision":"approved","comment":"fine"}')"
expect status "$(field status <<<"$answer")" completed
echo "completed: $(field response <<<"$answer")"

say "Done: paused, survived a crash, approved by the right person, completed."
