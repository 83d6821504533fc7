#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/base/unique_fd.h"

namespace sparkspan::head::http {

// A TCP socket bound to `address` (numeric, or "localhost") and `port` (0: any free one) and no
// other, listening. A port that another process listens on is an error.
absl::StatusOr<engine::UniqueFd> Listen(const std::string& address, int port);

// The port that a bound socket has.
int BoundPort(int socket);

// Accepts until `stop` becomes readable. Faults of single connections and a full descriptor table
// are waited out.
void AcceptLoop(int listener, int stop, const std::function<void(engine::UniqueFd)>& accepted);

}  // namespace sparkspan::head::http
