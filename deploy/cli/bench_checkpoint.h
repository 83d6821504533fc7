#pragma once

#include <cstdint>
#include <filesystem>

#include "absl/status/statusor.h"
#include "deploy/cli/bench_options.h"
#include "engine/weights/model_shape.h"

namespace sparkspan::deploy::cli {

// A model with layers of every kind and at least so many bytes of weights. From 1 GB on its layers
// have the widths of DeepSeek-V4-Flash, below (from 50 MB on) a quarter of them, else a sixteenth;
// experts per token and head dimensions are always those. There are 16 experts a layer, and 32768
// tokens of vocabulary times that fraction. Draft stages are those of DSpark, with blocks of 5.
engine::weights::ModelShape BenchShape(std::int64_t bytes, int draft_stages = 0);

// Of all tensors as stored.
std::int64_t StoredBytes(const engine::weights::ModelShape& shape);

// The folder of a random checkpoint for as long as the object lives.
class BenchCheckpoint {
 public:
  // Writes it, or takes the one that an earlier run with the same shape and seed left. Errors: a
  // folder that holds something else, too little space, files that cannot be written.
  static absl::StatusOr<BenchCheckpoint> Prepare(const BenchOptions& options);
  BenchCheckpoint(BenchCheckpoint&& other) noexcept;
  BenchCheckpoint& operator=(BenchCheckpoint&&) = delete;
  // Removes what this object wrote, unless it is to be kept.
  ~BenchCheckpoint();

  const std::filesystem::path& folder() const { return folder_; }
  bool reused() const { return reused_; }

 private:
  BenchCheckpoint(std::filesystem::path folder, bool keep)
      : folder_(std::move(folder)), keep_(keep) {}

  std::filesystem::path folder_;
  bool keep_;
  bool reused_ = false;
  bool made_folder_ = false;
};

}  // namespace sparkspan::deploy::cli
