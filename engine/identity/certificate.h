#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sparkspan::engine::identity {

// Certificates are about the time of day, not about the monotonic clock.
using WallTime = std::chrono::system_clock::time_point;

// What a certificate says.
struct Certificate {
  std::string subject;                 // its common name
  std::string organisation;            // of an authority: the cluster; empty otherwise
  std::vector<std::string> names;      // DNS names: the roles, see role.h
  std::vector<std::string> addresses;  // IPv4, dotted
  WallTime not_before;
  WallTime not_after;

  bool HasName(const std::string& name) const;
};

// Reads the first certificate of PEM text; `what` names its origin in errors.
absl::StatusOr<Certificate> ReadCertificate(const std::string& pem, const std::string& what);

// FailedPrecondition while the certificate is not in force at `now`: that it has expired, or that
// its time has not come, which on a machine that has just booted means a wrong clock.
absl::Status CheckInForce(const Certificate& certificate, const std::string& what, WallTime now);

// With fewer days left, daemons and the doctor ask for a new one.
inline constexpr std::int64_t kExpiryWarningDays = 30;

// Whole days until the certificate expires; negative once it has.
std::int64_t DaysLeft(const Certificate& certificate, WallTime now);

}  // namespace sparkspan::engine::identity
