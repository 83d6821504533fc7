#include "tests/unit/kernels/families/traffic.h"

#include <gtest/gtest.h>

#include <sstream>

#include "tests/unit/kernels/simt/five_orders.h"

namespace sparkspan::kernels {

std::vector<TrafficRow>& TrafficRows() {
  static std::vector<TrafficRow> rows;
  return rows;
}

void ExpectTraffic(const std::vector<std::string>& launches,
                   const emulator::Report& report,
                   const Required& required) {
  if (kOnGpu) {
    return;
  }
  EXPECT_GT(report.launches, 0U) << "the report of nothing";
  EXPECT_GE(report.streamed_bytes, required.streamed);
  EXPECT_LE(report.streamed_bytes, required.streamed + required.streamed / 50);
  if (required.stored) {
    EXPECT_EQ(report.stored_bytes, *required.stored);
  }
  std::uint64_t conflicts = 0;
  for (const auto& [place, count] : report.bank_conflicts) {
    conflicts += count;
  }
  std::ostringstream row;
  for (const std::string& launch : launches) {
    row << (launch == launches.front() ? "" : " ") << launch;
  }
  const auto* info = testing::UnitTest::GetInstance()->current_test_info();
  row << "," << info->test_suite_name() << "." << info->name() << "," << report.launches << ","
      << required.streamed << "," << report.streamed_bytes << "," << required.scales << ",";
  if (required.stored) {
    row << *required.stored;
  }
  row << "," << report.stored_bytes << "," << report.loaded_bytes << "," << conflicts;
  TrafficRows().push_back({launches, row.str()});
}

}  // namespace sparkspan::kernels
