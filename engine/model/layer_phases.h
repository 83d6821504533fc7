#pragma once

#include "engine/model/model_parts.h"
#include "kernels/ops.h"

// The two sublayers of a layer, each up to the exchange of its partial sums; the caller adds those
// of the ranks up and returns them to the streams (Ops::ReturnToStreams). Layers of the model and
// stages of a drafter run through the same ones.
namespace sparkspan::engine::model {

// Streams to the attention's partial output. `layer` names the place in the ops' cache layout.
inline void RunAttention(kernels::Ops& ops, int layer, const LayerParts& parts) {
  ops.MixStreams(parts.attention_site, parts.attention_norm);
  ops.ProjectLatents(layer, parts.attention);
  if (parts.ratio != 0) {
    ops.Compress(layer, parts.attention);
  }
  ops.ProjectQueries(layer, parts.attention);
  if (parts.ratio == kernels::kOverlapRatio) {
    ops.SelectEntries(layer, parts.attention);
  }
  ops.Attend(layer, parts.attention);
  ops.ProjectOutput(parts.attention);
}

// Streams to the experts' partial output.
inline void RunExperts(kernels::Ops& ops, const LayerParts& parts) {
  ops.MixStreams(parts.moe_site, parts.moe_norm);
  ops.Route(parts.moe);
  ops.RunExperts(parts.moe);
}

}  // namespace sparkspan::engine::model
