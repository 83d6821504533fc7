#include "tests/unit/engine/collective/tcp_group.h"

#include <chrono>

#include "engine/base/log.h"
#include "engine/base/status.h"
#include "engine/base/thread.h"

namespace sparkspan::engine::collective {

TcpGroup::TcpGroup(int ranks) {
  const fabric::DeclaredPin pin{"lo", {0x7F000001}};
  std::vector<fabric::Endpoint> endpoints;
  for (int rank = 0; rank < ranks; ++rank) {
    absl::StatusOr<TcpListener> listener = TcpListener::Open(pin, 0, fabric::LocalPeers::kNone);
    CHECK(listener.ok()) << std::string(listener.status().message());
    endpoints.push_back(listener->endpoint());
    listeners_.push_back(*std::move(listener));
  }
  for (int rank = 0; rank < ranks; ++rank) {
    TcpOptions& options = options_.emplace_back();
    options.rank = Rank(rank);
    options.endpoints = endpoints;
    options.interface = "lo";
    options.epoch = Epoch(7);
    options.config_hash = 0xC0FFEE;
    options.key.fill(std::byte{0x5A});
  }
}

void TcpGroup::Make() {
  communicators_.clear();
  for (const TcpOptions& options : options_) {
    communicators_.push_back(std::make_unique<TcpCommunicator>(options));
  }
}

std::vector<absl::Status> TcpGroup::Run(const std::function<absl::Status(TcpCommunicator&)>& body) {
  Make();
  std::vector<absl::Status> statuses(options_.size());
  {
    std::vector<Thread> threads;
    for (std::size_t rank = 0; rank < options_.size(); ++rank) {
      threads.emplace_back("rank", [&, rank] {
        TcpCommunicator& communicator = *communicators_[rank];
        statuses[rank] = [&]() -> absl::Status {
          RETURN_IF_ERROR(communicator.Connect(listeners_[rank]));
          return body(communicator);
        }();
      });
    }
  }
  return statuses;
}

}  // namespace sparkspan::engine::collective
