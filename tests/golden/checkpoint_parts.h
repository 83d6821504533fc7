#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/model/model_parts.h"
#include "tests/golden_tensors.h"

// A golden checkpoint cut into a rank's parts by the shortest code that does it: independent of
// engine/weights, whose loading is thereby checked against it.
namespace sparkspan::tests {

struct GoldenCheckpoint {
  explicit GoldenCheckpoint(const std::filesystem::path& folder);

  const GoldenTensor& Tensor(const std::string& name) const;
  bool Has(const std::string& name) const;
  int Int(const std::string& key) const { return config.at(key).get<int>(); }

  nlohmann::json config;
  std::vector<GoldenTensors> shards;
};

struct RankShare {
  int rank = 0;
  int ranks = 1;
  bool experts_whole = false;
  int unit = 32;  // of the intermediate width: 128 where activations are quantised
};

// Parts [begin, end) of `count` that the rank holds.
struct ShareRange {
  int begin = 0;
  int end = 0;
};
ShareRange ShareOf(int count, const RankShare& share);

engine::model::ModelParts MakeParts(std::shared_ptr<const GoldenCheckpoint> checkpoint,
                                    const RankShare& share);

}  // namespace sparkspan::tests
