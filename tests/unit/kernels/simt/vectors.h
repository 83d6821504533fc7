#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <span>
#include <string>

namespace sparkspan::kernels {

// Hashes of outputs that a GPU must reproduce bit for bit: those of kernels without tensor-core
// sums and approximate functions. SPARKSPAN_VECTORS_WRITE names a file to append to (the emulator
// wrote tests/gpu/vectors.csv so), SPARKSPAN_VECTORS_READ one to compare with. A program that runs
// all its tests must have met every stored vector in the end: a renamed test is no agreement.
class StoredVectors : public testing::Environment {
 public:
  explicit StoredVectors(const char* path) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
      const std::size_t comma = line.rfind(',');
      if (comma == std::string::npos) {
        continue;
      }
      hashes_[line.substr(0, comma)] = line.substr(comma + 1);
    }
    if (hashes_.empty()) {
      std::fprintf(stderr, "SPARKSPAN_VECTORS_READ: %s has no vectors\n", path);
      std::abort();
    }
  }

  void Compare(const std::string& key, const std::string& hash) {
    if (const auto found = hashes_.find(key); found != hashes_.end()) {
      EXPECT_EQ(found->second, hash) << "differs from the stored vector " << key;
      met_.insert(key);
    }
  }

  void TearDown() override {
    if (GTEST_FLAG_GET(filter) != "*") {
      return;
    }
    for (const auto& [key, hash] : hashes_) {
      EXPECT_TRUE(met_.contains(key)) << "no test has met the stored vector " << key;
    }
  }

  // Those of SPARKSPAN_VECTORS_READ; null without it. Owned by GoogleTest.
  static StoredVectors* Read() {
    static StoredVectors* const vectors = [] {
      const char* path = std::getenv("SPARKSPAN_VECTORS_READ");
      return path == nullptr ? nullptr : new StoredVectors(path);
    }();
    return vectors;
  }

 private:
  std::map<std::string, std::string> hashes_;
  std::set<std::string> met_;
};

// Before main, so that GoogleTest asks for what was not met.
inline const bool kChecksStoredVectors =
    StoredVectors::Read() != nullptr &&
    testing::AddGlobalTestEnvironment(StoredVectors::Read()) != nullptr;

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
  if (kChecksStoredVectors) {
    StoredVectors::Read()->Compare(key, std::to_string(hash));
  }
}

}  // namespace sparkspan::kernels
