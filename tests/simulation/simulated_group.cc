#include "tests/simulation/simulated_group.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/collective/blamed_peer.h"

namespace sparkspan::tests {
namespace {

absl::Status Blaming(int peer, const char* why) {
  return engine::collective::BlamePeer(
      absl::UnavailableError(absl::StrFormat("rank %d: %s", peer, why)), engine::Rank(peer));
}

}  // namespace

SimulatedGroups::SimulatedGroups(World& world,
                                 SimulatedNetwork& network,
                                 int ranks,
                                 engine::Duration silence_limit)
    : world_(world),
      network_(network),
      silence_limit_(silence_limit),
      members_(static_cast<std::size_t>(ranks)) {
  network_.on_data_healed = [this] {
    for (int rank = 0; rank < Count(); ++rank) {
      if (IsMember(rank)) {
        TryForm(At(rank).key);
        TryFinish(rank);
        CheckPeers(rank);
      }
    }
  };
}

// Calls back after the time that the last byte needs, unless the rank has left meanwhile.
void SimulatedGroups::Answer(int rank, Done Member::*which, absl::Status status) {
  Done done = std::exchange(At(rank).*which, nullptr);
  world_.After(
      network_.Latency(rank),
      [this, rank, joining = At(rank).joining, done = std::move(done), status = std::move(status)] {
        if (At(rank).joining == joining && IsMember(rank)) {
          done(status);
        }
      });
}

void SimulatedGroups::Join(int rank, const std::string& key, Done done) {
  At(rank) = {};
  At(rank).key = key;
  At(rank).joining = ++joinings_;
  At(rank).formed = std::move(done);
  TryForm(key);
}

void SimulatedGroups::TryForm(const std::string& key) {
  for (int a = 0; a < Count(); ++a) {
    if (At(a).key != key || At(a).formed == nullptr || At(a).vanished) {
      return;
    }
    for (int b = 0; b < a; ++b) {
      if (network_.IsDataCut(a, b)) {
        return;
      }
    }
  }
  for (int rank = 0; rank < Count(); ++rank) {
    Answer(rank, &Member::formed, absl::OkStatus());
  }
}

void SimulatedGroups::Exchange(int rank, std::uint64_t step, Done done) {
  At(rank).step = step;
  At(rank).exchanged = std::move(done);
  for (int other = 0; other < Count(); ++other) {
    TryFinish(other);
  }
  CheckPeers(rank);
  // What is cut now and still is after the limit: retransmissions without an answer.
  world_.After(silence_limit_, [this, rank, step, joining = At(rank).joining] {
    if (At(rank).joining != joining || At(rank).step != step || At(rank).exchanged == nullptr) {
      return;
    }
    for (int peer = 0; peer < Count(); ++peer) {
      if (peer != rank && (At(peer).vanished || network_.IsDataCut(rank, peer))) {
        Answer(rank, &Member::exchanged, Blaming(peer, "out of reach"));
        return;
      }
    }
  });
}

void SimulatedGroups::TryFinish(int rank) {
  const Member& own = At(rank);
  if (own.exchanged == nullptr || own.vanished) {
    return;
  }
  for (int peer = 0; peer < Count(); ++peer) {
    const Member& other = At(peer);
    if (peer != rank && (other.key != own.key || other.step < own.step || other.vanished ||
                         network_.IsDataCut(rank, peer))) {
      return;
    }
  }
  Answer(rank, &Member::exchanged, absl::OkStatus());
}

// Fails the exchange of a rank that a peer has left.
void SimulatedGroups::CheckPeers(int rank) {
  if (At(rank).exchanged == nullptr) {
    return;
  }
  for (const int peer : left_[At(rank).key]) {
    if (!network_.IsDataCut(rank, peer)) {
      Answer(rank, &Member::exchanged, Blaming(peer, "it closed the connection"));
      return;
    }
  }
}

void SimulatedGroups::Leave(int rank) {
  if (!IsMember(rank)) {
    return;
  }
  const std::string key = At(rank).key;
  left_[key].push_back(rank);
  At(rank) = {};
  At(rank).joining = ++joinings_;
  for (int other = 0; other < Count(); ++other) {
    if (At(other).key == key) {
      CheckPeers(other);
    }
  }
}

void SimulatedGroups::Vanish(int rank) {
  At(rank).vanished = true;
}

}  // namespace sparkspan::tests
