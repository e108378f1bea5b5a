// Compares the model with what it must answer.
#pragma once
#include <string>

#include "decoder.hpp"
#include "tokenizer.hpp"

namespace generate {

/// Prints and returns 0 where, for each prompt of `expected_file` (written by reference.py), token ids of prompt and greedy answer are those
/// expected, the first logits are within 2e-4, and feeding the prompt token by token gives the bits of feeding it at once; else 1.
int check(rapt::cpu::context& ctx, decoder& model, const tokenizer& tokenizer, const std::string& expected_file);

}  // namespace generate
