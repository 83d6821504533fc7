// Whether every launch is compared with the truth and its traffic with what its formats require,
// once all tests of the program have run; and whether the tables say so.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "tests/unit/kernels/families/comparison.h"
#include "tests/unit/kernels/families/traffic.h"

namespace sparkspan::kernels {
namespace {

using Lines = std::vector<std::string>;

constexpr const char* kCloseness = "docs/performance/closeness.csv";
constexpr const char* kTraffic = "docs/performance/traffic.csv";
constexpr const char* kClosenessWrite = "SPARKSPAN_CLOSENESS_WRITE";
constexpr const char* kTrafficWrite = "SPARKSPAN_TRAFFIC_WRITE";

// The launches that the kernels' headers declare.
std::set<std::string> DeclaredLaunches() {
  std::set<std::string> launches;
  const std::regex declaration(R"(int Launch(\w+)\()");
  for (const auto& entry : std::filesystem::recursive_directory_iterator("kernels")) {
    if (entry.path().extension() != ".h") {
      continue;
    }
    std::ifstream file(entry.path());
    const std::string text(std::istreambuf_iterator<char>(file), {});
    for (std::sregex_iterator match(text.begin(), text.end(), declaration), end; match != end;
         ++match) {
      launches.insert((*match)[1]);
    }
  }
  return launches;
}

Lines ClosenessLines() {
  Lines lines = {"launch,truth,measure,worst,limit"};
  for (const auto& [key, closeness] : Ledger()) {
    std::array<char, 64> numbers{};
    std::snprintf(numbers.data(), numbers.size(), "%.2g,%.2g", closeness.worst, closeness.limit);
    lines.push_back(key[0] + ",\"" + key[1] + "\"," + key[2] + "," + numbers.data());
  }
  return lines;
}
Lines TrafficLines() {
  Lines lines = {
      "launches,test,launch_count,streamed_required,streamed,scales_required,stored_required,"
      "stored,"
      "loaded,bank_conflicts"};
  for (const TrafficRow& row : TrafficRows()) {
    lines.push_back(row.text);
  }
  std::sort(lines.begin() + 1, lines.end());
  return lines;
}

// Without their last columns, which differ from one C library to the next: the measured error and
// its limit, bank conflicts where data choose the bank.
Lines Cut(Lines lines, int columns) {
  for (std::string& line : lines) {
    for (int column = 0; column < columns && !line.empty(); ++column) {
      line.erase(std::min(line.rfind(','), line.size()));
    }
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

Lines StoredLines(const char* path) {
  Lines lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    lines.push_back(line);
  }
  return lines;
}

void ExpectStored(const char* path, const char* variable, const Lines& lines, int columns) {
  const Lines stored = Cut(StoredLines(path), columns);
  const Lines made = Cut(lines, columns);
  Lines apart;
  std::set_symmetric_difference(
      stored.begin(), stored.end(), made.begin(), made.end(), std::back_inserter(apart));
  EXPECT_THAT(apart, testing::IsEmpty())
      << path << " differs from what the tests found; write it with " << variable;
}

void WriteWhereAsked(const char* variable, const Lines& lines) {
  if (const char* path = std::getenv(variable); path != nullptr) {
    std::ofstream file(path);
    for (const std::string& line : lines) {
      file << line << "\n";
    }
  }
}

class EvidenceIsComplete : public testing::Environment {
 public:
  void TearDown() override {
    if (GTEST_FLAG_GET(filter) != "*" || !DeletedSite().empty()) {
      return;
    }
    std::set<std::string> compared;
    for (const auto& [key, closeness] : Ledger()) {
      compared.insert(key[0]);
    }
    std::set<std::string> counted;
    for (const TrafficRow& row : TrafficRows()) {
      counted.insert(row.launches.begin(), row.launches.end());
    }
    const std::set<std::string> declared = DeclaredLaunches();
    EXPECT_FALSE(declared.empty()) << "run from the repository root";
    for (const std::string& launch : declared) {
      EXPECT_TRUE(compared.contains(launch)) << "nothing compares Launch" << launch;
      EXPECT_TRUE(kOnGpu || counted.contains(launch))
          << "nothing counts the traffic of Launch" << launch;
    }
    WriteWhereAsked(kClosenessWrite, ClosenessLines());
    WriteWhereAsked(kTrafficWrite, TrafficLines());
    if (!kOnGpu) {
      ExpectStored(kCloseness, kClosenessWrite, ClosenessLines(), 2);
      ExpectStored(kTraffic, kTrafficWrite, TrafficLines(), 1);
    }
  }
};

const auto* const kEvidenceIsComplete = testing::AddGlobalTestEnvironment(new EvidenceIsComplete);

}  // namespace
}  // namespace sparkspan::kernels
