#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/stop_event.h"
#include "engine/base/thread.h"
#include "engine/base/unique_fd.h"
#include "engine/fabric/address.h"
#include "engine/fabric/pin.h"
#include "engine/fabric/pin_news.h"
#include "engine/fabric/pinned_socket.h"
#include "head/cluster/link_traffic.h"

namespace sparkspan::head::cluster {

// Carries the bytes of a client that cannot bind its sockets (gRPC, docs/decisions/0009) between a
// unix socket of this process and a TCP connection that is bound to a declared interface. What the
// bytes are is none of its business, so encryption stays end to end. Only this process may connect
// to the unix socket. When the interface ceases to be as declared, every connection ends at once,
// and none is made until it is so again. Serves up to kConnectionsMax connections on one thread.
class PinnedRelay {
 public:
  static constexpr std::size_t kConnectionsMax = 8;

  // The pin need not hold yet. Connects to `remote` once for each client.
  static absl::StatusOr<std::unique_ptr<PinnedRelay>> Start(const engine::fabric::DeclaredPin& pin,
                                                            const engine::fabric::Endpoint& remote);
  ~PinnedRelay();
  PinnedRelay(const PinnedRelay&) = delete;
  PinnedRelay& operator=(const PinnedRelay&) = delete;

  // Where the client connects to, in gRPC's spelling.
  std::string target() const { return "unix-abstract:" + name_; }

  // Where the newest connection was proven to lie; the reason if none could be made, or why the
  // interface is not as declared.
  absl::StatusOr<engine::fabric::SocketPath> path() const;

  // On all connections since it was started. Thread-safe.
  LinkTraffic traffic() const { return {sent_bytes_, received_bytes_}; }

 private:
  class Connection;

  PinnedRelay(engine::fabric::DeclaredPin pin,
              engine::fabric::Endpoint remote,
              std::string name,
              engine::UniqueFd listener,
              engine::fabric::PinNews pin_news,
              engine::StopEvent stop);
  void Run();
  // A worker on the head's own machine is reached inside it, whatever becomes of the interface.
  bool IsLocal() const { return remote_.address == pin_.address; }
  void TakePinNews();
  void SetPath(absl::StatusOr<engine::fabric::SocketPath> path);
  void Accept();
  // Moves a connection on; false when it is over.
  bool Advance(Connection& connection);

  const engine::fabric::DeclaredPin pin_;
  engine::fabric::PinNews pin_news_;  // of the thread alone
  const engine::fabric::Endpoint remote_;
  const std::string name_;  // in the abstract namespace
  const engine::UniqueFd listener_;
  const engine::StopEvent stop_;
  std::vector<std::unique_ptr<Connection>> connections_;  // of the thread alone
  std::atomic<std::uint64_t> sent_bytes_{0};
  std::atomic<std::uint64_t> received_bytes_{0};

  mutable std::mutex mutex_;
  absl::StatusOr<engine::fabric::SocketPath> path_;
  engine::Thread thread_;  // last: it uses all of the above
};

}  // namespace sparkspan::head::cluster
