#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/weights/checkpoint_index.h"
#include "engine/weights/generation_defaults.h"
#include "engine/weights/model_shape.h"
#include "engine/weights/tensor_specs.h"

namespace sparkspan::engine::weights {

// A published checkpoint folder whose configuration and headers were read and found complete:
// exactly the tensors its config.json implies, each with its dtype and shape. No weight was read.
// Immutable; ranks of one process share it.
class Checkpoint {
 public:
  // Errors name file, field or tensor, what was found, what was expected and the remedy.
  static absl::StatusOr<std::shared_ptr<const Checkpoint>> Open(
      const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  const ModelShape& shape() const { return shape_; }
  const GenerationDefaults& generation() const { return generation_; }
  const CheckpointIndex& index() const { return index_; }
  double open_seconds() const { return open_seconds_; }

 private:
  Checkpoint() = default;
  absl::Status FindDraft();
  absl::Status CheckTensors() const;

  std::filesystem::path folder_;
  ModelShape shape_;
  GenerationDefaults generation_;
  CheckpointIndex index_;
  double open_seconds_ = 0.0;
};

}  // namespace sparkspan::engine::weights
