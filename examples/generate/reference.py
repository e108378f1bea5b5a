#!/usr/bin/env python3
"""Writes expected.json: what SmolLM2 with f16 weights answers, computed in float64 with numpy and nothing of the library.

    python3 examples/generate/reference.py .models/smollm2-135m-f16.safetensors > examples/generate/expected.json
"""

import json
import sys

import numpy as np
from safetensors.numpy import load_file

LAYERS, HEADS, KV_HEADS, DIM, THETA = 30, 9, 3, 64, 100000.0
END_OF_TURN = 2
PROMPTS = [
    {"name": "raw", "chat": False, "text": "Once upon a time, there was a", "steps": 64, "ids": [6403, 1980, 253, 655, 28, 665, 436, 253]},
    {"name": "chat", "chat": True, "text": "What is the capital of France?", "steps": 64,
     "ids": [1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411, 407, 19712, 8182, 2, 198, 1, 4093, 198,
             1780, 314, 260, 3575, 282, 4649, 47, 2, 198, 1, 520, 9531, 198]},
]


def rms_norm(x, weight):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-5) * weight


def rotate(x, first):
    angle = np.arange(first, first + len(x))[:, None] * THETA ** (-2.0 * np.arange(DIM // 2) / DIM)
    c, s = np.cos(angle)[:, None, :], np.sin(angle)[:, None, :]
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * c - b * s, b * c + a * s], axis=-1)


def attend(w, layer, x, cache):
    name = f"model.layers.{layer}.self_attn."
    past = len(cache[layer][0])
    q, k, v = ((x @ w[f"{name}{p}_proj.weight"].T).reshape(len(x), -1, DIM) for p in "qkv")
    cache[layer] = [np.concatenate([cache[layer][0], rotate(k, past)]), np.concatenate([cache[layer][1], v])]
    keys, values = (np.repeat(part, HEADS // KV_HEADS, axis=1) for part in cache[layer])
    scores = np.einsum("nhd,mhd->hnm", rotate(q, past), keys) / np.sqrt(DIM)
    scores[:, np.arange(len(keys))[None] > past + np.arange(len(x))[:, None]] = -np.inf
    p = np.exp(scores - scores.max(-1, keepdims=True))
    out = np.einsum("hnm,mhd->nhd", p / p.sum(-1, keepdims=True), values)
    return out.reshape(len(x), -1) @ w[f"{name}o_proj.weight"].T


def logits(w, ids, cache):
    x = w["model.embed_tokens.weight"][ids]
    for layer in range(LAYERS):
        name = f"model.layers.{layer}."
        x = x + attend(w, layer, rms_norm(x, w[f"{name}input_layernorm.weight"]), cache)
        n = rms_norm(x, w[f"{name}post_attention_layernorm.weight"])
        gate = n @ w[f"{name}mlp.gate_proj.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * (n @ w[f"{name}mlp.up_proj.weight"].T)) @ w[f"{name}mlp.down_proj.weight"].T
    return rms_norm(x[-1], w["model.norm.weight"]) @ w["model.embed_tokens.weight"].T


def main():
    w = {name: tensor.astype(np.float64) for name, tensor in load_file(sys.argv[1]).items()}
    rows = []
    for prompt in PROMPTS:
        cache = [[np.zeros((0, KV_HEADS, DIM))] * 2 for _ in range(LAYERS)]
        row = logits(w, prompt["ids"], cache)
        first = [[int(i), round(float(row[i]), 6)] for i in np.argsort(-row)[:5]]
        greedy, margin = [], np.inf
        while len(greedy) < prompt["steps"]:
            second, best = np.sort(row)[-2:]
            margin = min(margin, best - second)
            greedy.append(int(row.argmax()))
            if greedy[-1] == END_OF_TURN:
                break
            row = logits(w, greedy[-1:], cache)
        rows.append({"name": prompt["name"], "chat": prompt["chat"], "text": prompt["text"], "prompt_ids": prompt["ids"], "greedy_ids": greedy,
                     "first_logits": first, "smallest_margin": round(float(margin), 6)})
    print("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]")


if __name__ == "__main__":
    main()
