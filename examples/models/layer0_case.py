#!/usr/bin/env python3
"""Writes the committed files that stand in for the whole model where it can not be downloaded.

    python3 examples/models/layer0_case.py --models .models

smollm2-layer0.safetensors       the attention weights and the norm of layer 0, f16, as in the whole model's file
smollm2_layer0_case.safetensors  a parity case (the fixtures' format): the same weights, the layer's real inputs for a prompt and the
                                 tokens that the model writes after it, and the outputs of a float64 numpy implementation.
                                 Where torch can be imported, its own f32 results (`peer.*`) are added, from which bounds are computed.
Needs numpy, safetensors and the file that fetch.py writes.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

HEADS, KV_HEADS, DIM, MODEL_DIM, THETA = 9, 3, 64, 576, 100000.0
PROMPT = [6403, 1980, 253, 655, 28, 665, 436, 253]  # "Once upon a time, there was a"
WRITTEN = [1165, 3102, 32047, 281, 260, 1911, 282, 253]  # " small town nestled in the heart of a": greedy decoding


def rms_norm(x, weight, eps=1e-5):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def rotate(x, first):
    """Rotary embedding over pairs (i, i + 32); x [len, heads, DIM] at positions first, first + 1, ..."""
    angle = np.arange(first, first + len(x))[:, None] * THETA ** (-2.0 * np.arange(DIM // 2) / DIM)
    c, s = np.cos(angle)[:, None, :], np.sin(angle)[:, None, :]
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * c - b * s, b * c + a * s], axis=-1)


class Oracle:
    """Grouped-query attention in float64, one head at a time, keys and values appended call by call."""

    def __init__(self, weights):
        self.q, self.kv, self.out = (weights[name].astype(np.float64) for name in ("w_q", "w_kv", "w_out"))
        self.truncate(0)

    def truncate(self, length):
        empty = np.zeros((0, KV_HEADS, DIM))
        self.keys, self.values = (self.keys[:length], self.values[:length]) if length else (empty, empty)

    def forward(self, x):
        past = len(self.keys)
        q = rotate(np.einsum("ns,hds->nhd", x, self.q[0]), past)
        self.keys = np.concatenate([self.keys, rotate(np.einsum("ns,hds->nhd", x, self.kv[0]), past)])
        self.values = np.concatenate([self.values, np.einsum("ns,hds->nhd", x, self.kv[1])])
        y, lse = np.zeros((len(x), MODEL_DIM)), np.zeros((HEADS, len(x)))
        for h in range(HEADS):
            g = h // (HEADS // KV_HEADS)
            for i in range(len(x)):
                score = self.keys[: past + i + 1, g] @ q[i, h] / np.sqrt(DIM)
                weight = np.exp(score - score.max())
                lse[h, i] = score.max() + np.log(weight.sum())
                y[i] += (weight @ self.values[: past + i + 1, g] / weight.sum()) @ self.out[h]
        return y[None], lse[None]

    def cache(self):
        return np.stack([self.keys, self.values], axis=1)[None]


def torch_attention(weights, inputs):
    """PyTorch's f32 results for the same calls, by its own scaled_dot_product_attention; None without torch."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(2)
    w_q, w_kv, w_out = (torch.from_numpy(weights[name].astype(np.float32)) for name in ("w_q", "w_kv", "w_out"))
    frequency = 1.0 / THETA ** (torch.arange(0, DIM, 2, dtype=torch.float32) / DIM)
    keys, values = torch.zeros(KV_HEADS, 0, DIM), torch.zeros(KV_HEADS, 0, DIM)
    outputs, lses = [], []
    for x in map(torch.from_numpy, inputs):
        past, length = keys.shape[1], x.shape[1]
        angle = torch.outer(torch.arange(past, past + length, dtype=torch.float32), frequency).repeat(1, 2)

        def turned(rows):
            a, b = rows.chunk(2, dim=-1)
            return rows * angle.cos() + torch.cat([-b, a], dim=-1) * angle.sin()

        q = turned((x[0] @ w_q.reshape(-1, MODEL_DIM).T).reshape(length, HEADS, DIM).transpose(0, 1))
        k, v = ((x[0] @ w.reshape(-1, MODEL_DIM).T).reshape(length, KV_HEADS, DIM).transpose(0, 1) for w in w_kv)
        keys, values = torch.cat([keys, turned(k)], dim=1), torch.cat([values, v], dim=1)
        visible = torch.arange(past + length)[None] <= torch.arange(past, past + length)[:, None]
        group = HEADS // KV_HEADS
        all_keys, all_values = keys.repeat_interleave(group, 0), values.repeat_interleave(group, 0)
        attended = torch.nn.functional.scaled_dot_product_attention(q[None], all_keys[None], all_values[None], attn_mask=visible[None, None])[0]
        outputs.append((attended.transpose(0, 1).reshape(length, -1) @ w_out.reshape(-1, MODEL_DIM)).numpy()[None])
        scores = (q @ all_keys.transpose(1, 2) / DIM**0.5).masked_fill(~visible, float("-inf"))
        lses.append(torch.logsumexp(scores, dim=-1).numpy()[None])
    return outputs, lses, torch.stack([keys, values]).permute(2, 0, 1, 3)[None].contiguous().numpy(), torch.__version__


def forward_step(x, expect, lse):
    return {"op": "forward", "x": x, "x_kv": None, "cache": "append", "reuse_first_head_kv": False, "only_cache_first_head_kv": False,
            "add_input": False, "kv_lens": None, "mask": None, "mask_kind": None, "peak_mem_factor": None, "expect": expect, "expect_lse": lse}


def build_case(layer, embeddings):
    weights = {"w_q": layer["q_proj"].reshape(1, HEADS, DIM, MODEL_DIM),
               "w_kv": np.stack([layer[name].reshape(KV_HEADS, DIM, MODEL_DIM) for name in ("k_proj", "v_proj")]),
               "w_out": layer["o_proj"].T.reshape(HEADS, DIM, MODEL_DIM)}
    rows = rms_norm(embeddings.astype(np.float64), layer["norm"].astype(np.float64)).astype(np.float32)[None]
    prompt_len = len(PROMPT)
    inputs = [rows[:, :prompt_len]] + [rows[:, i : i + 1] for i in range(prompt_len, rows.shape[1])]

    oracle, tensors, steps = Oracle(weights), {}, []
    for number, x in enumerate(inputs):
        tensors[f"inputs.x{number}"] = x
        tensors[f"expected.y{number}"], tensors[f"expected.lse{number}"] = oracle.forward(x[0].astype(np.float64))
        steps.append(forward_step(f"x{number}", f"y{number}", f"lse{number}"))
        if number == len(WRITTEN) // 2:
            steps.append({"op": "save_load"})
    tensors["expected.kv"] = oracle.cache()
    steps += [{"op": "expect_cache", "kv": "kv"}, {"op": "truncate", "kv_len": prompt_len}, forward_step("x1", "y1", "lse1")]

    peer = torch_attention(weights, inputs)
    if peer:
        outputs, lses, kv, version = peer
        tensors["peer.kv.f32"] = kv
        for number, (y, lse) in enumerate(zip(outputs, lses)):
            tensors[f"peer.y{number}.f32"], tensors[f"peer.lse{number}.f32"] = y, lse
    tensors.update({f"weights.{name}": weight for name, weight in weights.items()})
    case = {"format": 1, "case": "smollm2_layer0_prompt_and_decode",
            "note": "SmolLM2-135M-Instruct layer 0 on its real inputs: a prompt of 8 tokens, then the 8 tokens that the model writes, one by one",
            "oracle": f"numpy {np.__version__} float64" + (f"; torch {peer[3]} for peer.*" if peer else ""), "seed": 0, "dtypes": ["f64", "f32"],
            "config": {"model_dim": MODEL_DIM, "output_dim": MODEL_DIM, "num_heads": HEADS, "num_kv_heads": KV_HEADS, "head_dim": DIM,
                       "value_dim": DIM, "softmax_scale": None, "bias": False, "dropout_p": 0.0, "qk_norm": None,
                       "rope": {"theta": THETA, "dim": DIM, "pairing": "half", "scaling": None}, "causal": True, "window": None,
                       "softcap": None, "alibi": False, "sinks": None},
            "weights": list(weights), "steps": steps}
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, {"case": json.dumps(case)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path(".models"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    prefix = "model.layers.0."
    with safe_open(arguments.models / "smollm2-135m-f16.safetensors", "numpy") as file:
        names = [f"{prefix}self_attn.{name}_proj.weight" for name in "qkvo"] + [f"{prefix}input_layernorm.weight"]
        committed = {name: file.get_tensor(name) for name in names}
        embeddings = file.get_slice("model.embed_tokens.weight")
        rows = np.concatenate([embeddings[token : token + 1] for token in PROMPT + WRITTEN])
    save_file(committed, arguments.out / "smollm2-layer0.safetensors", metadata={"format": "pt", "license": "apache-2.0"})
    layer = dict(zip(("q_proj", "k_proj", "v_proj", "o_proj", "norm"), committed.values()))
    tensors, metadata = build_case(layer, rows)
    save_file(tensors, arguments.out / "smollm2_layer0_case.safetensors", metadata=metadata)
    for number in range(1 + len(WRITTEN)):
        expected = tensors[f"expected.y{number}"]
        if f"peer.y{number}.f32" in tensors:
            error = np.abs(tensors[f"peer.y{number}.f32"] - expected).max()
            print(f"y{number}: largest {np.abs(expected).max():.4f}, torch f32 differs by {error:.2e}")


if __name__ == "__main__":
    main()
