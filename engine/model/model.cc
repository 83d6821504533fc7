#include "engine/model/model.h"

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/model/execution.h"
#include "engine/model/layer_program.h"
#include "kernels/cpu/arithmetic.h"

namespace sparkspan::engine::model {
namespace {

absl::Status CheckParts(const ModelParts& parts,
                        const kernels::numerics::NumericsProfile& profile) {
  if (parts.layers.empty() || parts.shape.streams < 1 || parts.shape.streams > 8) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a model of %d layers with %d residual streams: needs at least one layer "
                        "and 1 to 8 streams",
                        parts.layers.size(),
                        parts.shape.streams));
  }
  for (std::size_t i = 0; i < parts.layers.size(); ++i) {
    RETURN_IF_ERROR(CheckShares(parts.layers[i], absl::StrFormat("layer %d", i), profile));
  }
  return absl::OkStatus();
}

}  // namespace

std::string VectorInstructionsOf(Device device) {
  return device == Device::kReference ? "scalar" : kernels::cpu::VectorTargetName();
}

kernels::CacheLayout CacheLayoutOf(const kernels::OpsShape& shape,
                                   std::span<const int> ratios,
                                   const ModelOptions& options) {
  const kernels::CacheShape cache{shape.head_dim,
                                  shape.rope_dim,
                                  shape.index_dim,
                                  shape.window,
                                  {ratios.begin(), ratios.end()}};
  return kernels::MakeCacheLayout(cache, options.numerics, options.rewind_rows_max);
}

absl::StatusOr<std::unique_ptr<Model>> Model::Create(ModelParts parts,
                                                     const ModelOptions& options,
                                                     collective::Communicator* communicator) {
  RETURN_IF_ERROR(CheckParts(parts, options.numerics));
  std::vector<int> ratios;
  for (const LayerParts& layer : parts.layers) {
    ratios.push_back(layer.ratio);
  }
  const kernels::CacheLayout layout = CacheLayoutOf(parts.shape, ratios, options);
  ASSIGN_OR_RETURN(ExecutionParts execution, MakeExecution(parts.shape, layout, options));
  return std::make_unique<LayerProgram>(std::move(parts),
                                        options,
                                        layout,
                                        std::move(execution.team),
                                        std::move(execution.ops),
                                        communicator);
}

}  // namespace sparkspan::engine::model
