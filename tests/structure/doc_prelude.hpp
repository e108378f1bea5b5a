// What a block of the documents may take for granted: rapt and the standard headers that the pages use without saying so.
#pragma once
#include <rapt/rapt.hpp>

#include <array>
#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>
