#!/usr/bin/env bash
# Runs a program that saves its state half-way and goes on, then another process that resumes there: the last line with PATTERN must be the same.
# usage: resume_test.sh PATTERN FIRST... -- SECOND...; exit code 77 where the programs say that their model is not there.
set -uo pipefail
pattern=$1
shift
first=()
while (($#)) && [[ $1 != -- ]]; do first+=("$1"); shift; done
(($# > 1)) || { echo "usage: resume_test.sh PATTERN FIRST... -- SECOND..." >&2; exit 2; }
shift

line_of() {  # COMMAND...: prints the line; everything goes to stderr
  local output code
  output=$("$@" 2>&1)
  code=$?
  printf '$ %s\n%s\n' "$*" "$output" >&2
  ((code == 0)) || return $code
  grep -e "$pattern" <<<"$output" | tail -n 1
}
before=$(line_of "${first[@]}") || exit
after=$(line_of "$@") || exit
[[ -n $before && $before == "$after" ]] || { echo "other bits after the resume: '$before' and '$after'" >&2; exit 1; }
echo "the same in both processes: $before"
