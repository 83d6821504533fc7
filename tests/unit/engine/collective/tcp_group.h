#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/collective/tcp_communicator.h"

// Ranks of one group as threads of this process, over loopback sockets.
namespace sparkspan::engine::collective {

class TcpGroup {
 public:
  explicit TcpGroup(int ranks);

  int ranks() const { return static_cast<int>(options_.size()); }
  // Before Run. Every rank has its own, so that they can be made to disagree.
  TcpOptions& options(int rank) { return options_[static_cast<std::size_t>(rank)]; }
  TcpCommunicator& communicator(int rank) {
    return *communicators_[static_cast<std::size_t>(rank)];
  }
  const TcpListener& listener(int rank) const { return listeners_[static_cast<std::size_t>(rank)]; }

  // Makes the communicators, connects them in threads and runs body(communicator) where that
  // succeeds. Returns each rank's status.
  std::vector<absl::Status> Run(const std::function<absl::Status(TcpCommunicator&)>& body);

  // Also the first part of Run.
  void Make();

 private:
  std::vector<TcpListener> listeners_;
  std::vector<TcpOptions> options_;
  std::vector<std::unique_ptr<TcpCommunicator>> communicators_;
};

}  // namespace sparkspan::engine::collective
