#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/unique_fd.h"
#include "engine/fabric/pin.h"

namespace sparkspan::engine::fabric {

// TCP ports for daemons that nobody has declared ports for: the workers of `sparkspan serve`, and
// those of tests.
//
// A port of the kernel's choice (bind to port 0) that was let go again may be given to another
// process or connection before its daemon listens on it, and each time that daemon is started anew.
// Claimed ports lie below the range that Linux chooses from (ip_local_port_range, 32768 on unless
// changed), and are claimed by no two live processes of a network namespace: each claim is an
// abstract Unix socket named after the port, which ends with the process.
class PortClaims {
 public:
  static constexpr std::uint16_t kFirst = 28'672;
  static constexpr std::uint16_t kLast = 32'767;

  // `count` ports at the pin's address on which nobody listens just now, none of them `except`
  // (0: any will do). RESOURCE_EXHAUSTED where there are fewer.
  static absl::StatusOr<PortClaims> Make(const DeclaredPin& pin,
                                         std::size_t count,
                                         std::uint16_t except = 0);

  const std::vector<std::uint16_t>& ports() const { return ports_; }

 private:
  PortClaims() = default;

  std::vector<std::uint16_t> ports_;
  std::vector<UniqueFd> claims_;
};

}  // namespace sparkspan::engine::fabric
