#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <span>
#include <string>

namespace sparkspan::kernels {

// Hashes of outputs that a GPU must reproduce bit for bit: those of kernels without tensor-core
// sums and approximate functions. SPARKSPAN_VECTORS_WRITE names a file to append to (the emulator
// wrote tests/gpu/vectors.csv so), SPARKSPAN_VECTORS_READ one to compare with.
inline void CheckVector(std::span<const std::byte> output) {
  static std::map<std::string, int> ordinals;
  const auto* info = testing::UnitTest::GetInstance()->current_test_info();
  std::string key = std::string(info->test_suite_name()) + "." + info->name();
  key += "#" + std::to_string(ordinals[key]++);
  std::uint64_t hash = 14695981039346656037ULL;
  for (const std::byte byte : output) {
    hash = (hash ^ static_cast<std::uint64_t>(byte)) * 1099511628211ULL;
  }
  if (const char* path = std::getenv("SPARKSPAN_VECTORS_WRITE"); path != nullptr) {
    std::ofstream(path, std::ios::app) << key << "," << hash << "\n";
  }
  const char* path = std::getenv("SPARKSPAN_VECTORS_READ");
  if (path == nullptr) {
    return;
  }
  static const std::map<std::string, std::string> stored = [path] {
    std::map<std::string, std::string> lines;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      const std::size_t comma = line.rfind(',');
      lines[line.substr(0, comma)] = line.substr(comma + 1);
    }
    return lines;
  }();
  if (const auto found = stored.find(key); found != stored.end()) {
    EXPECT_EQ(found->second, std::to_string(hash)) << "differs from the stored vector " << key;
  }
}

}  // namespace sparkspan::kernels
