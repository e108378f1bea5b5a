"""The whole model that examples/generate runs, beside llama.cpp: both have the same f16 weights and are fed the same text."""

import ctypes
import importlib.util
import pathlib

import numpy

from works import Work

ROOT = pathlib.Path(__file__).resolve().parents[2]
WEIGHTS, GGUF = (ROOT / ".models" / f"smollm2-135m-f16.{kind}" for kind in ("safetensors", "gguf"))

LAYERS, WIDTH, KV_WIDTH, HIDDEN, VOCABULARY = 30, 576, 192, 1536, 49152
LAYER_WEIGHTS = LAYERS * (2 * WIDTH * WIDTH + 2 * WIDTH * KV_WIDTH + 3 * WIDTH * HIDDEN)
UNEMBEDDING = WIDTH * VOCABULARY

PROMPT, STEPS = 512, 64
TEXT = (ROOT / "LICENSE").read_bytes()


def missing():
    """Why the whole model can not be measured; empty where it can."""
    if importlib.util.find_spec("llama_cpp") is None:
        return "llama-cpp-python is not installed"
    return ", ".join(f"{path.name} is not there" for path in (WEIGHTS, GGUF) if not path.exists())


class LlamaCpp:
    """llama.cpp with keys and values in f16 and the prompt as one batch."""

    def __init__(self, threads, flash_attention):
        import llama_cpp

        self.c = llama_cpp
        self.llama = llama_cpp.Llama(str(GGUF), n_ctx=PROMPT + STEPS, n_batch=PROMPT, n_ubatch=PROMPT, n_threads=threads, n_threads_batch=threads,
                                     flash_attn=flash_attention, verbose=False)
        self.memory = llama_cpp.llama_get_memory(self.llama.ctx)

    def tokens(self, text):
        return numpy.array(self.llama.tokenize(text, add_bos=False, special=False), numpy.int32)

    def forget_from(self, position):
        self.c.llama_memory_seq_rm(self.memory, 0, position, -1)

    def feed(self, ids):
        batch = self.c.llama_batch_get_one(ids.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)), len(ids))
        if self.c.llama_decode(self.llama.ctx, batch):
            raise RuntimeError("llama_decode failed")
        return numpy.ctypeslib.as_array(self.c.llama_get_logits_ith(self.llama.ctx, -1), (VOCABULARY,))

    def prompt(self, ids):
        self.forget_from(0)
        return self.feed(ids)

    def decode(self, ids):
        for i in range(len(ids)):
            logits = self.feed(ids[i:i + 1])
        self.forget_from(PROMPT)
        return logits


class Rapt:
    def __init__(self, lib, kv_dtype):
        self.lib = lib
        made = lib.c.peer_model(ctypes.c_int(lib.threads), str(WEIGHTS).encode(), ctypes.c_int(kv_dtype == "f16"), ctypes.c_int64(PROMPT + STEPS))
        if not made:
            raise RuntimeError("peer_model failed")
        self.model = ctypes.c_void_p(made)
        self.logits = numpy.zeros(VOCABULARY, numpy.float32)

    def prompt(self, ids):
        self.lib.call("peer_model_prompt", self.model, ids, len(ids), self.logits)
        return self.logits

    def decode(self, ids):
        self.lib.call("peer_model_decode", self.model, ids, len(ids), self.logits)
        return self.logits

    def free(self):
        self.lib.c.peer_free_model(self.model)


def whole_model(lib, name, kv_dtype, decodes):
    # What was faster on 1 and on 2 threads: prompts with llama.cpp's flash attention (1.07 to 1.2 times), single tokens without (1.03 to 1.2 times).
    rapt, llama = Rapt(lib, kv_dtype), LlamaCpp(lib.threads, flash_attention=not decodes)
    tolerance = 5e-3  # llama.cpp rounds activations, keys and values to f16: 6e-4 apart after the prompt, 2e-3 after the 64 tokens
    ids = llama.tokens(TEXT)[:PROMPT + STEPS]
    prompt, given = ids[:PROMPT], ids[PROMPT:]
    if decodes:
        for model in rapt, llama:
            model.prompt(prompt)
        contenders = {"rapt": lambda: rapt.decode(given), "llama.cpp": lambda: llama.decode(given)}
        kv_bytes = LAYERS * 2 * KV_WIDTH * (2 if kv_dtype == "f16" else 4) * sum(range(PROMPT + 1, PROMPT + STEPS + 1))
        work = Work(name, contenders, 2 * STEPS * (LAYER_WEIGHTS + UNEMBEDDING) + kv_bytes, "read", 1.0, tolerance=tolerance)
    else:
        contenders = {"rapt": lambda: rapt.prompt(prompt), "llama.cpp": lambda: llama.prompt(prompt)}
        attention = LAYERS * 2 * PROMPT * PROMPT * WIDTH
        work = Work(name, contenders, 2 * (PROMPT * LAYER_WEIGHTS + UNEMBEDDING) + attention, "fma", 1.0, tolerance=tolerance)
    work.release = rapt.free
    return work


def all_works(lib):
    """As works.all_works."""
    for name, kv_dtype, decodes in ((f"whole model f16 weights, prompt of {PROMPT} tokens", "f32", False),
                                    (f"whole model f16 weights, {STEPS} tokens after {PROMPT}", "f32", True),
                                    (f"whole model f16 weights and cache, {STEPS} tokens after {PROMPT}", "f16", True)):
        yield name, lambda name=name, kv_dtype=kv_dtype, decodes=decodes: whole_model(lib, name, kv_dtype, decodes)
