#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/linear/linear.h"
#include "kernels/simt/emulator.h"

namespace sparkspan::kernels {

// What a launch's formats require of memory.
struct Required {
  std::uint64_t streamed = 0;  // bytes that are read once: weights, stored entries, keys
  std::uint64_t scales = 0;    // of the weights, which come through the cache beside them
  // Bytes that its vector stores write; empty where single elements are stored, which nothing
  // counts.
  std::optional<std::uint64_t> stored;

  Required& operator+=(const Required& other) {
    streamed += other.streamed;
    scales += other.scales;
    return *this;
  }
};

// Of a product's weight, read once for each pass over it.
inline Required WeightOf(const LinearArguments& product, std::uint64_t passes = 1) {
  const auto whole = static_cast<std::uint64_t>(LinearWeightBytes(product));
  const std::uint64_t scales = PreparedScaleBytes(product.weight_format, product.n, product.k);
  return {(whole - scales) * passes, scales * passes, std::nullopt};
}

// Compares what the lanes asked for with what the formats require: streams at most 2 % more, stores
// exactly. Loads through the caches and bank conflicts are counted, not judged. `launches` without
// their Launch: all that the report is of. Every call is a row of docs/performance/traffic.csv;
// SPARKSPAN_TRAFFIC_WRITE names a file to write the table to.
void ExpectTraffic(const std::vector<std::string>& launches,
                   const emulator::Report& report,
                   const Required& required);

// The rows so far, each with the launches that it is of.
struct TrafficRow {
  std::vector<std::string> launches;
  std::string text;
};
std::vector<TrafficRow>& TrafficRows();

}  // namespace sparkspan::kernels
