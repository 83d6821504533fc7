#include "engine/model/bind_weights.h"

#include "absl/strings/str_format.h"
#include "engine/model/weight_binder.h"

namespace sparkspan::engine::model {

ModelParts BindWeights(const weights::RankWeights& loaded) {
  const weights::ModelShape& shape = loaded.shape();
  ModelParts parts;
  WeightBinder binder(loaded, &parts.widened, &parts.tables);
  parts.shape = weights::OpsShapeOf(shape, loaded.share());
  parts.vocabulary = shape.vocabulary;
  parts.vocabulary_shares = binder.VocabularyShares();
  parts.embedding = binder.Weight("embed.weight");
  parts.head = binder.Weight("head.weight");
  parts.norm = binder.Vector("norm.weight");
  parts.collapse = binder.Site("hc_head");
  for (int layer = 0; layer < shape.layers(); ++layer) {
    parts.layers.push_back(binder.Block(absl::StrFormat("layers.%d.", layer),
                                        shape.ratios[static_cast<std::size_t>(layer)],
                                        layer < shape.hash_layers));
  }
  parts.storage = loaded.arena();
  return parts;
}

}  // namespace sparkspan::engine::model
