#pragma once

#include <memory>

#include "engine/model/model_parts.h"
#include "engine/weights/rank_weights.h"

namespace sparkspan::engine::model {

// A loaded rank's weights as the layer program uses them: views of the arena, which the parts keep
// alive, and what has to be fp32 or 32-bit and is not stored so (bf16 vectors, routing tables)
// converted. Cannot fail: loading saw that all is there.
ModelParts BindWeights(const weights::RankWeights& loaded);

}  // namespace sparkspan::engine::model
