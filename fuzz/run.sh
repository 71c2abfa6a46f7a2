#!/usr/bin/env bash
# Fuzzes every target in turn, or those that are named: fuzz/run.sh SECONDS [TARGET…]. A crash ends it with the input's file and the command that
# runs it again; what was found interesting stays in fuzz/corpus, and the next run begins with it. Seeds are the fixtures of the tests, and fuzz/seeds.
# With FUZZ_JOBS=N, N at a time: then only of those that crash is shown what they said.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds="${1:?fuzz/run.sh SECONDS [TARGET…]}"
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(checkpoint run body answer config settings ledger cases kit)
[ ! -x target/tools/bin/cargo-fuzz ] || PATH="$PWD/target/tools/bin:$PATH"
export RUSTC_BOOTSTRAP=1 # coverage needs a flag of the compiler that is not stable; all else is

seeds() { # TARGET: its seeds, one file a line
    case "$1" in
        checkpoint) find host/core/tests/checkpoints -type f ;;
        config) find bench examples host/server/src/config -name '*.yaml' -not -path '*/cases/*' ;;
        cases) find guards examples -path '*/cases/*.yaml' ;;
        kit) find tests/programs -maxdepth 1 -name '*.wat' -size -4k; find examples/guards -name '*.wat' ;;
    esac
    [ ! -d "fuzz/seeds/$1" ] || find "fuzz/seeds/$1" -type f
}

corpus() { # TARGET: makes its corpus, of the seeds and of what is there
    mkdir -p "fuzz/corpus/$1"
    seeds "$1" | while read -r file; do cp "$file" "fuzz/corpus/$1/$(echo "$file" | tr / _)"; done
    [ "$1" != ledger ] || sed -n '/^```jsonl/,/^```$/{/^```/!p}' docs/ledger.md > "fuzz/corpus/$1/manual.jsonl"
}

fuzz() { # TARGET. The stack is that of a server's thread: what needs more is found here, and not there.
    cargo fuzz run -s none "$1" "fuzz/corpus/$1" -- -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=16384 -len_control=0 -print_final_stats=1
}

jobs="${FUZZ_JOBS:-1}"
for target in "${targets[@]}"; do cargo fuzz build -s none "$target"; done # first, so that nobody waits for another's
said="$(mktemp -d)"
trap 'rm -r "$said"' EXIT
for target in "${targets[@]}"; do
    corpus "$target"
    if [ "$jobs" = 1 ]; then
        fuzz "$target"
    else
        [ "$(jobs -rp | wc -l)" -lt "$jobs" ] || wait -n
        (fuzz "$target" > "$said/$target" 2>&1 || touch "$said/$target.crashed") &
    fi
done
wait
for target in "${targets[@]}"; do
    [ "$jobs" = 1 ] || echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$said/$target" || true) inputs"
    if [ -e "$said/$target.crashed" ]; then
        cat "$said/$target"
        crashed=yes
    fi
done
[ -z "${crashed:-}" ]
