#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/ops.h"

namespace sparkspan::engine::model {

// A tensor of a checkpoint as it lies in the mapped file: no alignment is promised.
struct TensorView {
  std::string dtype;  // the file's spelling: F32, BF16, F8_E4M3, F8_E8M0, I8, I64
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

// What config.json says, as far as the layer program needs it. Sizes of the whole model.
struct CheckpointConfig {
  kernels::OpsShape shape;
  std::vector<int> ratios;  // per layer
  std::int64_t vocabulary = 0;
  std::int64_t expert_width = 0;
  int hash_layers = 0;
};

// A published checkpoint folder (config.json and safetensors files), mapped read-only: the ranks of
// one process share its pages, and every command that runs ranks as threads reads it this way.
class MappedCheckpoint {
 public:
  // Errors name the file and the field or tensor.
  static absl::StatusOr<std::shared_ptr<const MappedCheckpoint>> Open(
      const std::filesystem::path& folder);
  ~MappedCheckpoint();
  MappedCheckpoint(const MappedCheckpoint&) = delete;
  MappedCheckpoint& operator=(const MappedCheckpoint&) = delete;

  const CheckpointConfig& config() const { return config_; }

  // The tensor, checked to have one of these dtypes (several separated by '|') and this shape.
  absl::StatusOr<TensorView> Find(const std::string& name,
                                  std::string_view dtypes,
                                  std::span<const std::int64_t> shape) const;
  bool Has(const std::string& name) const { return tensors_.contains(name); }

 private:
  struct Mapping {
    void* address;
    std::size_t size;
  };

  MappedCheckpoint() = default;
  absl::Status MapShard(const std::filesystem::path& file);

  CheckpointConfig config_;
  std::vector<Mapping> mappings_;
  std::map<std::string, TensorView> tensors_;
};

}  // namespace sparkspan::engine::model
