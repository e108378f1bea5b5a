# The long runs behind a release's figures: sourced by ./run soak [HOURS], which brings say, configure_and_build and close. HOURS (RAPT_SOAK_HOURS; 8) go
# to the fuzzers under sanitizers; the rest runs until it is done, and RAPT_FUZZ_HEADERS, RAPT_FUZZ_FORWARDS, RAPT_LIFE_CASES, RAPT_MATRIX_CASES and
# RAPT_KILLS change how much that is. What ran when, how often and with which outcome is added to build/soak/summary.txt.
need_build_tools
need_packages clang libclang-rt-dev
hours=${1:-${RAPT_SOAK_HOURS:-8}}
[[ $hours =~ ^[0-9]+(\.[0-9]+)?$ ]] || die "soak: '$hours' is no number of hours"
headers=${RAPT_FUZZ_HEADERS:-100000000} forwards=${RAPT_FUZZ_FORWARDS:-10000000}
lives=${RAPT_LIFE_CASES:-100000} cases=${RAPT_MATRIX_CASES:-1000000} kills=${RAPT_KILLS:-10000}
mkdir -p build/soak

note() { printf '%s  %s\n' "$(date -u +'%Y-%m-%d %H:%M UTC')" "$*" | tee -a build/soak/summary.txt; }

progress() {  # WHAT MINUTES
  local log
  printf '   %s: %d min' "$1" "$2"
  for log in build/fuzz/*.log; do
    [[ ! $log -nt build/soak/began ]] || printf ', %s %s' "$(basename "$log" .log)" "$(grep -aoE '^#[0-9]+' "$log" | tail -n 1)"
  done
  printf '\n'
}

soak() {  # WHAT COMMAND...: runs it, a line a minute; its output is kept in build/soak
  local what=$1 began=$SECONDS minutes=0 log=build/soak/${1//[^a-z0-9]/-}.log pid status=0
  shift
  say "$what"
  touch build/soak/began
  "$@" >"$log" 2>&1 &
  pid=$!
  while sleep 1 && kill -0 "$pid" 2>/dev/null; do
    (((SECONDS - began) / 60 == minutes)) || { minutes=$(((SECONDS - began) / 60)); progress "$what" "$minutes"; }
  done
  wait "$pid" || status=$?
  if ((status == 0)); then
    note "$what: ok, $((SECONDS - began)) s"; passed=$((passed + 1))
  else
    note "$what: FAILED, $((SECONDS - began)) s, $log"; failed=$((failed + 1)); tail -n 40 "$log"
  fi
}

note_fuzzers() {  # LOG
  while read -r line; do note "fuzzer $line"; done < <(grep executions "$1")
}
many_executions() {
  printf '%s\n' "${headers}x header" "${forwards}x load_forward" | xargs -P "$jobs" -L 1 tests/fuzz/run.sh build/fuzzers/tests/fuzz
}
matrix_quarters() {
  printf '%s\n' first second third fourth | RAPT_MATRIX_CASES=$cases xargs -P "$jobs" -I {} build/dev/tests/rapt_contract_test --gtest_filter='matrix.{}_quarter'
}
lives_of() { RAPT_LIFE_CASES=$2 RAPT_LIFE_SEED=1000 "build/$1/tests/rapt_fuzz_test" --gtest_filter='cache_life.*'; }
# Every float through the elementary functions and the conversions, every bit of a state file.
exhaustive() {
  local room
  for room in math core state; do RAPT_EXHAUSTIVE=1 "build/dev/tests/rapt_${room}_test" --gtest_filter='exp2.*:tanh.*:storage_type*:*bit_flip*' || return; done
}
kill_tests() { RAPT_KILLS=$kills build/dev/tests/rapt_state_test --gtest_filter='*kill*'; }

note "soak begins: $(git rev-parse --short HEAD 2>/dev/null || echo 'no git'), $(nproc) processors, $hours hours of fuzzing"
fuzzers=(header third_party config_json load_state load_forward)
at_once=$((jobs < ${#fuzzers[@]} ? jobs : ${#fuzzers[@]}))
if configure_and_build asan "${fuzzers[@]/#/rapt_fuzz_}" rapt_fuzz_test; then
  soak "fuzzers" env RAPT_JOBS="$jobs" tests/fuzz/run.sh build/asan/tests/fuzz "$(awk "BEGIN {print int($hours * 3600 * $at_once / ${#fuzzers[@]}) + 1}")"
  note_fuzzers build/soak/fuzzers.log
  soak "$((lives / 10)) lives of a cache under sanitizers" lives_of asan $((lives / 10))
else
  failed=$((failed + 1))
fi
if configure_and_build fuzzers rapt_fuzz_header rapt_fuzz_load_forward; then
  soak "fuzzers without sanitizers" many_executions
  note_fuzzers build/soak/fuzzers-without-sanitizers.log
else
  failed=$((failed + 1))
fi
if configure_and_build dev rapt_fuzz_test rapt_contract_test rapt_state_test rapt_math_test rapt_core_test; then
  soak "every float and every bit of a file" exhaustive
  soak "$lives lives of a cache" lives_of dev "$lives"
  soak "$cases cases of the bitwise matrix" matrix_quarters
  if build/dev/tests/rapt_state_test --gtest_list_tests --gtest_filter='*kill*' | grep -q kill; then
    soak "$kills kills while saving" kill_tests
  else
    skip "kills while saving" "this version has no such test"
  fi
else
  failed=$((failed + 1))
fi
note "soak ends: $passed ok, $failed failed, $skipped skipped"
say "summary (build/soak/summary.txt)"
tail -n 20 build/soak/summary.txt
close
