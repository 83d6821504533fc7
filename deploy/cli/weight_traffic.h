#pragma once

#include <cstdint>

#include "engine/model/model_parts.h"

namespace sparkspan::deploy::cli {

// Bytes of weights, scales, vectors and tables that one rank reads to run one row. The KV cache is
// not among them.
struct WeightTraffic {
  double attention = 0.0;  // compressors and indexer included
  double experts = 0.0;    // routed ones; an average where they are dealt whole to ranks
  double shared = 0.0;     // shared experts, routers
  double streams = 0.0;    // embedding, stream mixes and norms
  double head = 0.0;

  double total() const { return attention + experts + shared + streams + head; }
  WeightTraffic& operator+=(const WeightTraffic& other);
  WeightTraffic Over(double count) const;  // each part divided
};

// Of the row at `position` alone in its step, with its logits: the weights that the layer program
// touches in their formats in memory. Of routed experts those of one token; an indexer only once
// it has more entries than it may choose; a compressor's norm only where an entry is completed.
WeightTraffic WeightTrafficOf(const engine::model::ModelParts& parts, std::int64_t position);

}  // namespace sparkspan::deploy::cli
