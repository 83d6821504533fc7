#pragma once

#include <memory>
#include <utility>

#include "engine/draft/drafter.h"
#include "engine/model/model.h"

namespace sparkspan::engine::runtime {

// What one rank executes: its share of the target model and, where the checkpoint has draft stages
// and they are wanted, of the drafter.
struct RankModel {
  RankModel() = default;
  // A model without a drafter.
  RankModel(std::unique_ptr<model::Model> target)  // NOLINT(google-explicit-constructor)
      : model(std::move(target)) {}
  RankModel(std::unique_ptr<model::Model> target, std::unique_ptr<draft::Drafter> peer)
      : model(std::move(target)), drafter(std::move(peer)) {}

  std::unique_ptr<model::Model> model;
  std::unique_ptr<draft::Drafter> drafter;  // or null
};

}  // namespace sparkspan::engine::runtime
