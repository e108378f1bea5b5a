// Makes a file of rapt whole again after a mutation: length, header, data and checksums, so that a reader meets the mutation and not its traces.
#pragma once
#include <fuzz/targets.hpp>

#include <string>

namespace rapt_fuzz {

/// The JSON text that begins at byte 8, whatever the length says; spaces up to a multiple of 64; as much data as the header's tensors need (cut, or
/// continued with zeros, up to 64 KiB); every checksum that has a key. Where the header can not be read, only its length is made right.
std::string repaired(bytes file);
/// The same with the header of another file, whose tensors then hold these bytes.
std::string repaired(bytes data, std::string_view with_header_of);

}  // namespace rapt_fuzz
