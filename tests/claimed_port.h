#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "engine/fabric/port_claims.h"

namespace sparkspan::tests {

// A port of an address of this machine that no other test is given while this process lives.
inline std::uint16_t ClaimedPort(const engine::fabric::DeclaredPin& pin) {
  static std::vector<engine::fabric::PortClaims> kept;
  absl::StatusOr<engine::fabric::PortClaims> claims = engine::fabric::PortClaims::Make(pin, 1);
  EXPECT_TRUE(claims.ok()) << claims.status();
  kept.push_back(*std::move(claims));
  return kept.back().ports().front();
}

}  // namespace sparkspan::tests
