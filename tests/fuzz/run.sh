#!/usr/bin/env bash
# Runs fuzzers, some at a time, and says what each did; false where one found something. New inputs stay in build/fuzz/corpus for the next run, findings
# in build/fuzz/found: mend the defect, then commit the input to tests/fuzz/corpus/<target>, where every build replays it.
#   usage: tests/fuzz/run.sh BUILD_DIR AMOUNT [TARGET...]     AMOUNT: seconds, or executions with an x behind them (5000x)
# RAPT_JOBS says how many run at once.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
programs=$1 amount=-max_total_time=$2
[[ $2 != *x ]] || amount=-runs=${2%x}
shift 2
targets=("$@")
((${#targets[@]})) || targets=(header third_party config_json load_state load_forward)

fuzz() {  # TARGET
  local target=$1 dictionary=safetensors max_len=4096 folders=("tests/fuzz/corpus/$1") log=build/fuzz/$1.log status=0
  case $target in
    config_json) dictionary=config_json max_len=1024 ;;
    third_party) folders+=(fixtures/golden) ;;
    load_state) folders+=(fixtures/golden) max_len=8192 ;;
    load_forward) folders=(tests/fuzz/corpus/load_state fixtures/golden) max_len=8192 ;;
  esac
  mkdir -p "build/fuzz/corpus/$target" build/fuzz/found
  "$programs/rapt_fuzz_$target" "$amount" -max_len="$max_len" -timeout=30 -rss_limit_mb=2048 -print_final_stats=1 \
    -dict="tests/fuzz/$dictionary.dict" -artifact_prefix="build/fuzz/found/$target-" "build/fuzz/corpus/$target" "${folders[@]}" >"$log" 2>&1 || status=$?
  stat() { sed -n "s/^stat::$1: *//p" "$log"; }
  printf '%-13s %12s executions, %s inputs kept%s%s\n' "$target" "$(stat number_of_executed_units)" \
    "$(find "build/fuzz/corpus/$target" -type f | wc -l)" "$([[ $target != load_forward ]] || printf ', %s answered' "$(stat inputs_answered)")" \
    "$( ((status == 0)) || printf ', FOUND something: %s' "$log")"
  ((status == 0)) || { grep -m 1 -E 'ERROR|SUMMARY|terminate called|runtime error' "$log" || true; tail -n 3 "$log"; }
  return "$status"
}
export -f fuzz
export programs amount
printf '%s\n' "${targets[@]}" | xargs -P "${RAPT_JOBS:-2}" -I {} bash -c 'set -uo pipefail; fuzz {} || exit 1'
