#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>

#include "tests/unit/kernels/simt/five_orders.h"

namespace sparkspan::kernels {

// What a launch's formats require of memory: bytes that are read once (weights, stored entries and
// keys), and bytes that its vector stores write.
struct Required {
  std::uint64_t streamed;
  std::uint64_t stored;
};

// Compares what the lanes asked for with what the formats require: streams at most 2 % more, stores
// exactly. SPARKSPAN_TRAFFIC_WRITE names a file to append the counts to:
// docs/performance/traffic.csv. Loads through the caches and bank conflicts are counted, not
// judged.
inline void ExpectTraffic(const emulator::Report& report, const Required& required) {
  if (kOnGpu) {
    return;
  }
  EXPECT_GE(report.streamed_bytes, required.streamed);
  EXPECT_LE(report.streamed_bytes, required.streamed + required.streamed / 50);
  EXPECT_EQ(report.stored_bytes, required.stored);
  if (const char* path = std::getenv("SPARKSPAN_TRAFFIC_WRITE"); path != nullptr) {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    std::uint64_t conflicts = 0;
    for (const auto& [place, count] : report.bank_conflicts) {
      conflicts += count;
    }
    std::ofstream(path, std::ios::app)
        << info->test_suite_name() << "." << info->name() << "," << report.launches << ","
        << required.streamed << "," << report.streamed_bytes << "," << required.stored << ","
        << report.stored_bytes << "," << report.loaded_bytes << "," << conflicts << "\n";
  }
}

}  // namespace sparkspan::kernels
