#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <utility>

#include "engine/base/clock.h"

namespace sparkspan::tests {

// Virtual time and chance: events in the order of their times, those of one moment in the order in
// which they were made. The same seed gives the same world.
class World final : public engine::Clock {
 public:
  explicit World(std::uint64_t seed) : random_(seed) {}

  engine::Time Now() const override { return now_; }

  void At(engine::Time time, std::function<void()> event) {
    events_.emplace(std::pair(std::max(time, now_), ++made_), std::move(event));
  }
  void After(engine::Duration delay, std::function<void()> event) {
    At(now_ + delay, std::move(event));
  }

  // Lets the next event happen if it comes no later than `until`. False when there is none: then
  // time is `until`.
  bool Step(engine::Time until) {
    if (events_.empty() || events_.begin()->first.first > until) {
      now_ = std::max(now_, until);
      return false;
    }
    const auto node = events_.extract(events_.begin());
    now_ = node.key().first;
    node.mapped()();
    return true;
  }

  // Whole, from `from` up to and including `to`.
  std::int64_t Between(std::int64_t from, std::int64_t to) {
    return std::uniform_int_distribution<std::int64_t>(from, to)(random_);
  }
  engine::Duration Milliseconds(std::int64_t from, std::int64_t to) {
    return std::chrono::milliseconds(Between(from, to));
  }
  bool Chance(double probability) { return std::bernoulli_distribution(probability)(random_); }

 private:
  engine::Time now_;
  std::uint64_t made_ = 0;
  std::map<std::pair<engine::Time, std::uint64_t>, std::function<void()>> events_;
  std::mt19937_64 random_;
};

}  // namespace sparkspan::tests
