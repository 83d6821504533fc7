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
// of the rank that connected, a Welcome of the one that accepted and an Answer of the first; then
// messages follow in both directions, each a MessageHeader and its payload.
namespace sparkspan::engine::collective {

// Raised whenever a byte below, or the meaning of one, changes.
inline constexpr std::uint32_t kCollectiveWireVersion = 2;

// A secret of one epoch, drawn by the head and sent to the ranks over the control plane. It never
// crosses a data connection: ranks prove that they know it (peer_proof.h).
using SessionKey = std::array<std::byte, 32>;
using Nonce = std::array<std::byte, 32>;  // drawn for one connection
using Proof = std::array<std::byte, 32>;  // HMAC-SHA256

// In constant time: how long it takes tells nothing of where the two differ.
bool IsSame(const Proof& a, const Proof& b);

// What a rank says of itself before anything else.
struct Hello {
  std::uint32_t version = kCollectiveWireVersion;
  Epoch epoch;
  std::uint64_t config_hash = 0;
  Rank from;
  Rank to;
  std::int32_t ranks = 0;
  Nonce nonce{};
  Proof proof{};  // that the sender knows the session key

  bool operator==(const Hello&) const = default;
};

inline constexpr std::size_t kHelloBytes = 112;

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

// What an accepting rank thinks of a Hello: `self` describes it, and has nonce and proof only with
// kAccepted.
struct Welcome {
  Verdict verdict = Verdict::kAccepted;
  Hello self;

  bool operator==(const Welcome&) const = default;
};

inline constexpr std::size_t kWelcomeBytes = kHelloBytes + 8;

void Encode(const Welcome& welcome, std::span<std::byte, kWelcomeBytes> bytes);
absl::StatusOr<Welcome> DecodeWelcome(std::span<const std::byte, kWelcomeBytes> bytes);

// What the connecting rank says to an accepting Welcome.
struct Answer {
  Proof proof{};

  bool operator==(const Answer&) const = default;
};

inline constexpr std::size_t kAnswerBytes = 40;

void Encode(const Answer& answer, std::span<std::byte, kAnswerBytes> bytes);
absl::StatusOr<Answer> DecodeAnswer(std::span<const std::byte, kAnswerBytes> bytes);

// What `self` finds wrong with a peer's hello that says it is of rank `peer.from`, in this order;
// kAccepted when nothing. `knows_key`: the peer's proof is right. Addresses are the caller's to
// judge.
Verdict Judge(const Hello& self, const Hello& peer, bool knows_key);

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
