#include "engine/draft/draft_parts.h"

#include "absl/strings/str_format.h"
#include "engine/model/weight_binder.h"

namespace sparkspan::engine::draft {

DraftParts BindDraft(const weights::RankWeights& loaded) {
  const weights::ModelShape& shape = loaded.shape();
  DraftParts parts;
  model::WeightBinder binder(loaded, &parts.widened, &parts.tables);
  parts.shape = weights::OpsShapeOf(shape, loaded.share());
  parts.vocabulary = shape.vocabulary;
  parts.vocabulary_shares = binder.VocabularyShares();
  parts.embedding = binder.Weight("embed.weight");
  parts.head = binder.Weight("head.weight");
  for (int stage = 0; stage < shape.draft_stages; ++stage) {
    parts.stages.push_back(
        binder.Block(absl::StrFormat("mtp.%d.", stage), /*ratio=*/0, /*hashed=*/false));
  }
  const std::string last = absl::StrFormat("mtp.%d.", shape.draft_stages - 1);
  parts.collapse = binder.Site(last + "hc_head");
  parts.norm = binder.Vector(last + "norm.weight");
  if (shape.draft == weights::DraftKind::kDspark) {
    parts.tap_projection = binder.Scaled("mtp.0.main_proj");
    parts.tap_norm = binder.Vector("mtp.0.main_norm.weight");
    parts.markov = {binder.Weight(last + "markov_head.markov_w1.weight"),
                    binder.Weight(last + "markov_head.markov_w2.weight"),
                    binder.Weight(last + "confidence_head.proj.weight")};
  } else {
    parts.join = {binder.Vector("mtp.0.enorm.weight"),
                  binder.Vector("mtp.0.hnorm.weight"),
                  binder.Scaled("mtp.0.e_proj"),
                  binder.Scaled("mtp.0.h_proj")};
  }
  parts.storage = loaded.arena();
  return parts;
}

}  // namespace sparkspan::engine::draft
