#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/weights/safetensors.h"

namespace sparkspan::engine::weights {

struct CheckpointFile {
  std::filesystem::path path;
  std::uint64_t bytes = 0;
};

struct TensorLocation {
  int file = 0;  // into CheckpointIndex::files
  Dtype dtype = Dtype::kF32;
  std::vector<std::int64_t> shape;
  std::uint64_t offset = 0;  // from the beginning of the file
  std::uint64_t bytes = 0;
};

// Which tensor lies where: the headers of all shards of a folder, checked against
// model.safetensors.index.json, or of a lone model.safetensors.
struct CheckpointIndex {
  std::vector<CheckpointFile> files;
  std::unordered_map<std::string, TensorLocation> tensors;

  // Refuses a shard that is missing or that the index does not name, and a tensor that the index
  // places elsewhere than the headers do. The index's total_size is not read: derived checkpoints
  // carry stale ones, and every header's bounds are checked anyway.
  static absl::StatusOr<CheckpointIndex> Open(const std::filesystem::path& folder);
};

// The weight_map of an index file: tensor name to shard name. A shard name may not leave the
// folder.
absl::StatusOr<std::map<std::string, std::string>> ParseWeightMap(const std::string& file,
                                                                  std::string_view text);

}  // namespace sparkspan::engine::weights
