// Arbitrary bytes as each of a checkpoint folder's JSON files.
#include <cstdint>
#include <cstdlib>

#include "engine/weights/checkpoint_index.h"
#include "engine/weights/checkpoint_writer.h"
#include "engine/weights/generation_defaults.h"
#include "engine/weights/model_shape.h"
#include "engine/weights/shard_plan.h"

namespace weights = sparkspan::engine::weights;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)weights::ParseWeightMap("model.safetensors.index.json", text);
  weights::ModelShape small;
  small.vocabulary = 100;
  small.positions_max = 1000;
  (void)weights::ParseGenerationDefaults(R"({"eos_token_id": 1})", text, text, small);
  const auto shape = weights::ParseModelShape("config.json", text);
  if (!shape.ok()) {
    return 0;
  }
  // What was accepted is written back to the same, and can be dealt without overflow.
  const std::string written = weights::ConfigJson(*shape);
  const auto again = weights::ParseModelShape("config.json", written);
  if (!again.ok() || weights::ConfigJson(*again) != written) {
    std::abort();
  }
  if (shape->layers() * shape->ops.experts < 1000) {
    const auto plan = weights::PlanShard(*shape, {}, /*with_draft=*/false);
    if (!plan.ok() || plan->slice_bytes < 0 || plan->arena_bytes < plan->slice_bytes) {
      std::abort();
    }
  }
  return 0;
}
