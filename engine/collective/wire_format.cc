#include "engine/collective/wire_format.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"

namespace sparkspan::engine::collective {
namespace {

constexpr std::uint64_t kHelloMagic = 0x6F6C6C6548535053;    // "SPSHello"
constexpr std::uint64_t kWelcomeMagic = 0x6F636C6557535053;  // "SPSWelco"
constexpr std::uint64_t kAnswerMagic = 0x7277736E41535053;   // "SPSAnswr"
constexpr std::uint32_t kMessageMagic = 0x6D535053;          // "SPSm"

// Writes integers one after another; the span must be filled exactly.
class Writer {
 public:
  explicit Writer(std::span<std::byte> bytes) : bytes_(bytes) {}
  ~Writer() { CHECK(bytes_.empty()) << "a record is not filled"; }

  template <typename Integer>
  Writer& Put(Integer value) {
    for (std::size_t i = 0; i < sizeof(Integer); ++i) {
      bytes_[i] = static_cast<std::byte>(static_cast<std::uint64_t>(value) >> 8 * i & 0xFFu);
    }
    bytes_ = bytes_.subspan(sizeof(Integer));
    return *this;
  }

  Writer& PutRaw(std::span<const std::byte> raw) {
    std::copy(raw.begin(), raw.end(), bytes_.begin());
    bytes_ = bytes_.subspan(raw.size());
    return *this;
  }

 private:
  std::span<std::byte> bytes_;
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <typename Integer>
  Integer Get() {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(Integer); ++i) {
      value |= std::to_integer<std::uint64_t>(bytes_[i]) << 8 * i;
    }
    bytes_ = bytes_.subspan(sizeof(Integer));
    return static_cast<Integer>(value);
  }

  void GetRaw(std::span<std::byte> raw) {
    std::copy_n(bytes_.begin(), raw.size(), raw.begin());
    bytes_ = bytes_.subspan(raw.size());
  }

 private:
  std::span<const std::byte> bytes_;
};

void PutFields(Writer& writer, const Hello& hello) {
  writer.Put(hello.version)
      .Put(hello.ranks)
      .Put(hello.from.value())
      .Put(hello.to.value())
      .Put(hello.epoch.value())
      .Put(hello.config_hash)
      .Put(std::uint64_t{0})  // Room for one more field of every version's start.
      .PutRaw(hello.nonce)
      .PutRaw(hello.proof);
}

Hello GetFields(Reader& reader) {
  Hello hello;
  hello.version = reader.Get<std::uint32_t>();
  hello.ranks = reader.Get<std::int32_t>();
  hello.from = Rank(reader.Get<std::int32_t>());
  hello.to = Rank(reader.Get<std::int32_t>());
  hello.epoch = Epoch(reader.Get<std::uint64_t>());
  hello.config_hash = reader.Get<std::uint64_t>();
  reader.Get<std::uint64_t>();
  reader.GetRaw(hello.nonce);
  reader.GetRaw(hello.proof);
  return hello;
}

std::string_view Name(Operation operation) {
  switch (operation) {
    case Operation::kAllReduceSum:
      return "all-reduce";
    case Operation::kAllGather:
      return "all-gather";
  }
  return "unknown operation";
}

std::string Describe(const MessageHeader& header) {
  return absl::StrFormat("%s of %d bytes, rank %d, epoch %d, step %d, sequence %d, wire version %d",
                         Name(header.operation),
                         header.payload_bytes,
                         header.from.value(),
                         header.epoch.value(),
                         header.step.value(),
                         header.sequence,
                         header.version);
}

}  // namespace

bool IsSame(const Proof& a, const Proof& b) {
  // Volatile, so that the loop is not turned into one that stops at the first difference.
  volatile unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference = difference | std::to_integer<unsigned>(a[i] ^ b[i]);
  }
  return difference == 0;
}

void Encode(const Hello& hello, std::span<std::byte, kHelloBytes> bytes) {
  Writer writer(bytes);
  PutFields(writer.Put(kHelloMagic), hello);
}

absl::StatusOr<Hello> DecodeHello(std::span<const std::byte, kHelloBytes> bytes) {
  Reader reader(bytes);
  if (reader.Get<std::uint64_t>() != kHelloMagic) {
    return absl::InvalidArgumentError("the first bytes are not those of a rank's hello");
  }
  return GetFields(reader);
}

void Encode(const Welcome& welcome, std::span<std::byte, kWelcomeBytes> bytes) {
  Writer writer(bytes);
  writer.Put(kWelcomeMagic)
      .Put(static_cast<std::uint32_t>(welcome.verdict))
      .Put(std::uint32_t{0});  // Keeps the fields at multiples of 8.
  PutFields(writer, welcome.self);
}

absl::StatusOr<Welcome> DecodeWelcome(std::span<const std::byte, kWelcomeBytes> bytes) {
  Reader reader(bytes);
  if (reader.Get<std::uint64_t>() != kWelcomeMagic) {
    return absl::InvalidArgumentError("the first bytes are not those of a rank's welcome");
  }
  const auto verdict = reader.Get<std::uint32_t>();
  reader.Get<std::uint32_t>();
  if (verdict >= kVerdicts) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "verdict %d is unknown to wire version %d", verdict, kCollectiveWireVersion));
  }
  return Welcome{static_cast<Verdict>(verdict), GetFields(reader)};
}

void Encode(const Answer& answer, std::span<std::byte, kAnswerBytes> bytes) {
  Writer(bytes).Put(kAnswerMagic).PutRaw(answer.proof);
}

absl::StatusOr<Answer> DecodeAnswer(std::span<const std::byte, kAnswerBytes> bytes) {
  Reader reader(bytes);
  if (reader.Get<std::uint64_t>() != kAnswerMagic) {
    return absl::InvalidArgumentError("the bytes are not those of a rank's answer to a welcome");
  }
  Answer answer;
  reader.GetRaw(answer.proof);
  return answer;
}

Verdict Judge(const Hello& self, const Hello& peer, bool knows_key) {
  if (peer.version != self.version) {
    return Verdict::kOtherVersion;
  }
  if (!knows_key) {
    // A process of an older epoch has an older key too; its epoch says more.
    return peer.epoch != self.epoch ? Verdict::kOtherEpoch : Verdict::kOtherKey;
  }
  if (peer.epoch != self.epoch) {
    return Verdict::kOtherEpoch;
  }
  if (peer.config_hash != self.config_hash) {
    return Verdict::kOtherConfig;
  }
  if (peer.ranks != self.ranks || peer.to != self.from || peer.from == self.from ||
      peer.from.value() < 0 || peer.from.value() >= self.ranks) {
    return Verdict::kOtherRanks;
  }
  return Verdict::kAccepted;
}

std::string Explain(Verdict verdict, const Hello& expected, const Hello& found) {
  switch (verdict) {
    case Verdict::kAccepted:
      return "accepted";
    case Verdict::kOtherVersion:
      return absl::StrFormat("wire version %d, expected %d; run one release on all nodes",
                             found.version,
                             expected.version);
    case Verdict::kOtherKey:
      return "a session key that is not this epoch's";
    case Verdict::kOtherEpoch:
      return absl::StrFormat("epoch %d, expected %d", found.epoch.value(), expected.epoch.value());
    case Verdict::kOtherConfig:
      return absl::StrFormat(
          "cluster configuration %016x, expected %016x; give all nodes the same file",
          found.config_hash,
          expected.config_hash);
    case Verdict::kOtherRanks:
      return absl::StrFormat("rank %d to rank %d of %d, expected a peer of rank %d of %d",
                             found.from.value(),
                             found.to.value(),
                             found.ranks,
                             expected.from.value(),
                             expected.ranks);
    case Verdict::kOtherAddress:
      return absl::StrFormat("a source address that is not the one declared for rank %d",
                             found.from.value());
    case Verdict::kAlreadyConnected:
      return absl::StrFormat("rank %d a second time", found.from.value());
  }
  return "an unknown verdict";
}

void Encode(const MessageHeader& header, std::span<std::byte, kHeaderBytes> bytes) {
  Writer(bytes)
      .Put(kMessageMagic)
      .Put(header.version)
      .Put(static_cast<std::uint16_t>(header.operation))
      .Put(header.from.value())
      .Put(std::uint32_t{0})  // Keeps the fields at multiples of 8.
      .Put(header.epoch.value())
      .Put(header.step.value())
      .Put(header.sequence)
      .Put(header.payload_bytes);
}

absl::Status CheckHeader(std::span<const std::byte, kHeaderBytes> bytes,
                         const MessageHeader& expected) {
  Reader reader(bytes);
  if (reader.Get<std::uint32_t>() != kMessageMagic) {
    return absl::DataLossError(
        absl::StrFormat("bytes that are no message, expected an %s", Describe(expected)));
  }
  MessageHeader found;
  found.version = reader.Get<std::uint16_t>();
  found.operation = static_cast<Operation>(reader.Get<std::uint16_t>());
  found.from = Rank(reader.Get<std::int32_t>());
  reader.Get<std::uint32_t>();
  found.epoch = Epoch(reader.Get<std::uint64_t>());
  found.step = Step(reader.Get<std::uint64_t>());
  found.sequence = reader.Get<std::uint64_t>();
  found.payload_bytes = reader.Get<std::uint64_t>();
  if (found == expected) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      absl::StrFormat("%s, expected %s", Describe(found), Describe(expected)));
}

}  // namespace sparkspan::engine::collective
