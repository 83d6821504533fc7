#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/ids.h"

// The bytes that TCP ranks exchange, all integers little-endian. A connection begins with a Hello
// of the rank that connected and a Welcome of the one that accepted; then messages follow in both
// directions, each a MessageHeader and its payload.
namespace sparkspan::engine::collective {

// Raised whenever a byte below, or the meaning of one, changes.
inline constexpr std::uint32_t kCollectiveWireVersion = 1;

// A secret of one epoch, drawn by the head and sent to the ranks over the control plane. It keeps
// strangers and stale processes out; it does not hide anything from who can read the wire.
inline constexpr std::size_t kSessionKeyBytes = 32;
using SessionKey = std::array<std::byte, kSessionKeyBytes>;

// In constant time: how long it takes tells nothing of where the keys differ.
bool SameKey(const SessionKey& a, const SessionKey& b);

// What a rank says of itself before anything else.
struct Hello {
  std::uint32_t version = kCollectiveWireVersion;
  Epoch epoch;
  std::uint64_t config_hash = 0;
  Rank from;
  Rank to;
  std::int32_t ranks = 0;
  SessionKey key{};

  bool operator==(const Hello&) const = default;
};

inline constexpr std::size_t kHelloBytes = 80;

void Encode(const Hello& hello, std::span<std::byte, kHelloBytes> bytes);

// An error when the bytes do not begin as a hello does: then they are a stranger's.
absl::StatusOr<Hello> DecodeHello(std::span<const std::byte, kHelloBytes> bytes);

enum class Verdict : std::uint32_t {
  kAccepted = 0,
  kOtherVersion = 1,
  kOtherKey = 2,
  kOtherEpoch = 3,
  kOtherConfig = 4,
  kOtherRanks = 5,    // Another number of ranks, or a rank that is none.
  kOtherAddress = 6,  // The source address is not the one declared for the rank.
  kAlreadyConnected = 7
};

inline constexpr std::uint32_t kVerdicts = 8;

// What an accepting rank thinks of a Hello: `self` describes it and holds its key only with
// kAccepted, so that a stranger learns none.
struct Welcome {
  Verdict verdict = Verdict::kAccepted;
  Hello self;

  bool operator==(const Welcome&) const = default;
};

inline constexpr std::size_t kWelcomeBytes = kHelloBytes + 8;

void Encode(const Welcome& welcome, std::span<std::byte, kWelcomeBytes> bytes);
absl::StatusOr<Welcome> DecodeWelcome(std::span<const std::byte, kWelcomeBytes> bytes);

// What `self` finds wrong with a peer's hello that says it is of rank `peer.from`, in this order;
// kAccepted when nothing. Addresses are the caller's to judge.
Verdict Judge(const Hello& self, const Hello& peer);

// "epoch 3 of rank 1, expected 4": the mismatch behind `verdict`, naming both sides.
std::string Explain(Verdict verdict, const Hello& expected, const Hello& found);

enum class Operation : std::uint16_t { kAllReduceSum = 1, kAllGather = 2 };

struct MessageHeader {
  std::uint16_t version = kCollectiveWireVersion;
  Operation operation = Operation::kAllReduceSum;
  Rank from;
  Epoch epoch;
  Step step;
  std::uint64_t sequence = 0;       // Counts the operations of an epoch.
  std::uint64_t payload_bytes = 0;  // What follows the header.

  bool operator==(const MessageHeader&) const = default;
};

inline constexpr std::size_t kHeaderBytes = 48;

void Encode(const MessageHeader& header, std::span<std::byte, kHeaderBytes> bytes);

// OK when the bytes are the expected header; else an error that names what was found and expected.
absl::Status CheckHeader(std::span<const std::byte, kHeaderBytes> bytes,
                         const MessageHeader& expected);

}  // namespace sparkspan::engine::collective
