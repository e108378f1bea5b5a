#!/usr/bin/env python3
"""Writes expected.json: all-MiniLM-L6-v2's vectors of some texts, computed in float64 with numpy and nothing of the library.

    python3 examples/embed/reference.py .models/minilm-l6-v2.safetensors examples/embed/wordpiece_cases.json > examples/embed/expected.json
"""

import json
import math
import sys

import numpy as np
from safetensors.numpy import load_file

TEXTS = ["This is an example sentence", "A cat sits on the mat.", "Each sentence is converted", "unbelievably internationalization tokenization"]
LAYERS, HEADS, DIM = 6, 12, 32
erf = np.vectorize(math.erf)


def layer_norm(w, name, x):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12) * w[name + ".weight"] + w[name + ".bias"]


def linear(w, name, x):
    return x @ w[name + ".weight"].T + w[name + ".bias"]


def embed(w, ids):
    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = layer_norm(w, "embeddings.LayerNorm", x + w["embeddings.token_type_embeddings.weight"][0])
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}."
        q, k, v = (linear(w, f"{name}attention.self.{part}", x).reshape(len(ids), HEADS, DIM) for part in ("query", "key", "value"))
        p = np.exp(np.einsum("nhd,mhd->hnm", q, k) / np.sqrt(DIM))
        attended = np.einsum("hnm,mhd->nhd", p / p.sum(-1, keepdims=True), v).reshape(len(ids), -1)
        x = layer_norm(w, f"{name}attention.output.LayerNorm", x + linear(w, f"{name}attention.output.dense", attended))
        hidden = linear(w, f"{name}intermediate.dense", x)
        hidden = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
        x = layer_norm(w, f"{name}output.LayerNorm", x + linear(w, f"{name}output.dense", hidden))
    vector = x.mean(0)
    return vector / np.linalg.norm(vector)


w = {name: tensor.astype(np.float64) for name, tensor in load_file(sys.argv[1]).items() if tensor.dtype == np.float32}
ids = {case["text"]: case["ids"] for case in json.load(open(sys.argv[2]))}
rows = [json.dumps({"text": text, "vector": [round(float(value), 8) for value in embed(w, ids[text])]}) for text in TEXTS]
print("[\n" + ",\n".join(rows) + "\n]")
