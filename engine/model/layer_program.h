#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/model/model.h"
#include "engine/model/model_parts.h"
#include "kernels/ops.h"
#include "kernels/task_team.h"

namespace sparkspan::engine::model {

// The one program of phases for every device.
class LayerProgram final : public Model {
 public:
  LayerProgram(ModelParts parts,
               const ModelOptions& options,
               const kernels::CacheLayout& layout,
               std::unique_ptr<kernels::TaskTeam> team,
               std::unique_ptr<kernels::Ops> ops,
               collective::Communicator* communicator);

  const ModelParts& parts() const override { return parts_; }
  const ModelOptions& options() const override { return options_; }
  const kernels::CacheLayout& cache_layout() const override { return layout_; }
  std::int64_t ActivationBytes(std::int64_t rows) const override;
  absl::Status Forward(std::span<const SequenceSpan> spans,
                       cache::KvPool& pool,
                       const ForwardOptions& options,
                       ForwardResult* result) override;

 private:
  absl::Status CheckSpans(std::span<const SequenceSpan> spans, const cache::KvPool& pool) const;
  absl::Status CheckOptions(std::size_t rows, const ForwardOptions& options) const;
  void LayOutRows(std::span<const SequenceSpan> spans, cache::KvPool& pool);
  // Adds the ranks' exchange buffers.
  absl::Status Exchange(ForwardResult* result);
  absl::Status RunLayer(int layer, const ForwardOptions& options, ForwardResult* result);
  absl::Status RunHead(std::span<const SequenceSpan> spans, ForwardResult* result);
  absl::Status GatherLogits(std::span<const float> part, std::size_t rows, ForwardResult* result);
  void TraceHidden(std::size_t index, const ForwardOptions& options);
  void TraceChoices(int layer, const ForwardOptions& options);

  ModelParts parts_;
  ModelOptions options_;
  kernels::CacheLayout layout_;
  std::unique_ptr<kernels::TaskTeam> team_;
  std::unique_ptr<kernels::Ops> ops_;
  collective::Communicator* communicator_;
  std::int64_t first_token_ = 0;  // of this rank's share of the vocabulary
  kernels::StepRows step_;
  std::vector<float> streams_;
};

}  // namespace sparkspan::engine::model
