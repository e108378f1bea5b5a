#!/usr/bin/env python3
"""Writes tokenizer_cases.json, texts with the ids that Hugging Face's `tokenizers` package gives them.

    python3 examples/generate/tokenizer_cases.py .models/smollm2-135m-tokenizer.txt > examples/generate/tokenizer_cases.json
"""

import json
import sys

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

TEXTS = [
    "", " ", "a", "Once upon a time, there was a", "What's it? They're, we've, I'm, you'll, he'd; I'S 'T",
    "  two  spaces   three ", "tab\tand\nnew\r\nlines\n\n\nend  \n", "1 12 123 x12y 3.14159 1,000,000 2024-01-02", "½ ² Ⅷ ٣ １２",
    "caf\u00e9 cafe\u0301 na\u00efve \u00dcber stra\u00dfe \u00d8", "\u2019quoted\u2018 \u201ctext\u201d \u2014 dash\u2026", "it\u2019s don\u2019t",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u4f60\u597d\uff0c\u4e16\u754c \u3053\u3093\u306b\u3061\u306f \uc548\ub155",
    "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1eb\U0001f1f7 \u2764\ufe0f", "non\u00a0breaking\u2003em\u3000wide\u2028line\u200bzero",
    "def f(x):\n    return x**2 + 3*x - 1  # comment\n\n\tif __name__ == '__main__':", "<|im_start|>user\nhi<|im_end|>\n<|endoftext|><|im_start", "<file_sep> <fim> <gh_stars>5",
    "\x00\x01\x04\x7f\x1f bytes", "\u0928\u092e\u0938\u094d\u0924\u0947 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35 \u0645\u0631\u062d\u0628\u0627",
    "antidisestablishmentarianism supercalifragilisticexpialidocious", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "!!!???...---___===+++", "$100 \u20ac50 \u00a310 \u00a55",
    "\ufffd \ue000 \U0010ffff \U00013000", "\u0378 unassigned", "x\u0085next\u000bvt\u000cff\u001cfs",
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\n"
    "What is the capital of France?<|im_end|>\n<|im_start|>assistant\n",
]


def load(path):
    header, *lines = open(path, encoding="utf-8").read().split("\n")
    _, tokens, _, merges, _, specials, _ = header.split(" ")
    tokens, merges, specials = int(tokens), int(merges), int(specials)
    vocabulary = {token: number for number, token in enumerate(lines[:tokens])}
    pairs = [tuple(line.split(" ")) for line in lines[tokens : tokens + merges]]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in lines[:specials]])
    return tokenizer


if __name__ == "__main__":
    reference = load(sys.argv[1])
    rows = [json.dumps({"text": text, "ids": reference.encode(text).ids}) for text in TEXTS]
    print("[\n" + ",\n".join(rows) + "\n]")
