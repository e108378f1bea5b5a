#!/usr/bin/env python3
"""Writes wordpiece_cases.json, texts with the ids that Hugging Face's `tokenizers` package gives them.

    python3 examples/embed/wordpiece_cases.py .models/minilm-l6-v2-vocab.txt > examples/embed/wordpiece_cases.json
"""

import json
import sys

from tokenizers import BertWordPieceTokenizer

TEXTS = [
    "", " ", "This is an example sentence", "A cat sits on the mat.", "Each sentence is converted", "don't stop, it's 5 o'clock!", "$x^2 + y_1 = `z` ~ |w| <a@b.c>",
    "Caf\u00e9 na\u00efve \u00dcBER stra\u00dfe \u00d8re \u0130stanbul \u0141\u00f3d\u017a", "e\u0301 n\u0303", "\u041f\u0440\u0438\u0432\u0435\u0442 \u041c\u0418\u0420 \u0439 \u0451", "\u0391\u03b8\u03ae\u03bd\u03b1 \u1f88",
    "\u4f60\u597d\u4e16\u754c abc\u4e2d\u6587def \uf900", "\ud55c\uad6d\uc5b4 \uac00", "\u3053\u3093\u306b\u3061\u306f \u30ac\u30ae", "\u0928\u092e\u0938\u094d\u0924\u0947 \u09cb \u0bcb", "\u201cquotes\u201d \u2014 dash\u2026 \u00bfqu\u00e9?",
    "tab\tnew\nline\r\nnbsp\u00a0em\u2003wide\u3000x", "zero\u200bwidth soft\u00adhyphen \ufeffbom nul\x00bel\x07 next\u0085line", "\ufffd \ue000", "unbelievably internationalization tokenization", "a" * 100, "a" * 101,
    "\U0001f600 emoji", "\ufb01ne \u017f", "\u00bd \u00b2 \u2167 \u0663", "it\u2019s",
]

reference = BertWordPieceTokenizer(sys.argv[1], lowercase=True)
print("[\n" + ",\n".join(json.dumps({"text": text, "ids": reference.encode(text).ids}) for text in TEXTS) + "\n]")
