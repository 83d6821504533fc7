#pragma once

#include <span>
#include <vector>

#include "engine/base/clock.h"
#include "engine/fabric/pin_monitor.h"
#include "head/api/generation.h"

namespace sparkspan::head::cluster {

// Makes rates out of the counters of one machine's interfaces. Time is an argument, by any clock
// that does not go back. One thread at a time.
class InterfaceMeter {
 public:
  // Newer samples. A rate is over the time since samples that are at least kWindow older, so that
  // who asks often does not divide by nothing.
  void Take(std::span<const engine::fabric::PinSample> samples, engine::Time at);

  // What the newest samples say; rates are 0 until there are two.
  const std::vector<api::InterfaceStatus>& interfaces() const { return interfaces_; }

  static constexpr engine::Duration kWindow = std::chrono::milliseconds(900);

 private:
  std::vector<engine::fabric::PinSample> base_;
  engine::Time base_at_;
  std::vector<api::InterfaceStatus> interfaces_;
};

}  // namespace sparkspan::head::cluster
