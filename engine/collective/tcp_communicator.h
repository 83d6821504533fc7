#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/unique_fd.h"
#include "engine/collective/abort_signal.h"
#include "engine/collective/communicator.h"
#include "engine/collective/peer_handshake.h"
#include "engine/fabric/pinned_socket.h"

namespace sparkspan::engine::collective {

// Where a rank waits for its peers: opened first, so that peers find it whenever they start, and
// kept from epoch to epoch.
class TcpListener {
 public:
  // Listens on the pinned address only. port 0: any free one.
  static absl::StatusOr<TcpListener> Open(const fabric::DeclaredPin& pin,
                                          std::uint16_t port,
                                          fabric::LocalPeers local_peers);

  const fabric::Endpoint& endpoint() const { return endpoint_; }
  int fd() const { return socket_.get(); }

 private:
  TcpListener(UniqueFd socket, fabric::Endpoint endpoint)
      : socket_(std::move(socket)), endpoint_(endpoint) {}

  UniqueFd socket_;
  fabric::Endpoint endpoint_;
};

// What the status page shows of a peer.
struct PeerTraffic {
  Rank rank;
  fabric::SocketPath path;
  std::uint64_t sent_bytes = 0;  // Headers included, as received_bytes.
  std::uint64_t received_bytes = 0;
};

// Ranks connected in pairs by TCP. Every exchange sends this rank's part to each peer and takes
// each peer's, in both directions at once, so that no size can make two ranks wait for each other.
// Sums are added in rank order from the parts (docs/decisions/0004). A rank that leaves ends the
// exchanges of the others: it stays until all have finished their last.
class TcpCommunicator final : public Communicator {
 public:
  explicit TcpCommunicator(TcpOptions options);
  ~TcpCommunicator() override;

  // Connects all peers; before any operation, once. Errors as ConnectPeers.
  absl::Status Connect(const TcpListener& listener);

  Rank rank() const override { return options_.rank; }
  int size() const override { return static_cast<int>(options_.endpoints.size()); }
  void BeginStep(ExchangeTag tag) override { tag_ = tag; }
  absl::Status AllReduceSum(std::span<float> io) override;
  absl::Status AllGather(std::span<const std::byte> part,
                         std::span<const std::size_t> part_bytes,
                         std::span<std::byte> whole) override;

  // Also ends Connect. An operation that fails aborts by itself.
  void Abort(absl::Status why) override;

  // Of the connected peers, in the order of their ranks. Thread-safe.
  std::vector<PeerTraffic> Traffic() const;

 private:
  class Peer;

  // Exchanges `part` for every peer's part, of the size that its place in `parts` has.
  absl::Status Exchange(Operation operation,
                        std::span<const std::byte> part,
                        std::span<const std::span<std::byte>> parts);
  absl::Status Transfer(Time deadline);
  absl::Status WaitForPeers(Time now, Time deadline);
  absl::Status CheckReady() const;
  // That no peer of this exchange, which began `sending` ago, is out of reach.
  absl::Status CheckPaths(Duration sending) const;
  // The error of a connection with its peer's name, and the peer to blame.
  absl::Status NameLost(const Peer& peer, const absl::Status& status) const;

  const TcpOptions options_;
  AbortSignal abort_;
  ExchangeTag tag_;
  std::uint64_t sequence_ = 0;
  mutable std::mutex mutex_;                  // Guards the vector, not what it holds.
  std::vector<std::unique_ptr<Peer>> peers_;  // Written by Connect only.
  std::vector<std::vector<float>> received_;  // [ranks]: parts to be added; grows to the largest
};

}  // namespace sparkspan::engine::collective
