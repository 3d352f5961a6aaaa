// The amx target on emulated tiles, as a program that reads cases from standard input and writes results to standard
// output.
#pragma once

#define PYAGENT_EMULATE_TILES
#include "core/targets/amx.cpp"

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace pyagent {
const FloatKernels kAvx512Floats = {};
}

// Exactly as much memory as there are elements, so that a sanitizer sees every step beyond.
template <class T>
std::vector<T> read(int64_t count) {
  std::vector<T> values(count);
  if (count > 0 && std::fread(values.data(), sizeof(T), count, stdin) != static_cast<size_t>(count)) std::exit(2);
  return values;
}

template <class T>
void write(const std::vector<T>& values) {
  if (!values.empty()) std::fwrite(values.data(), sizeof(T), values.size(), stdout);
}
