// The records that a TCP peer sends before it is trusted, of arbitrary bytes.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "engine/base/log.h"
#include "engine/collective/wire_format.h"

namespace sparkspan::engine::collective {
namespace {

void Try(std::span<const std::byte> bytes) {
  Hello self;
  self.epoch = Epoch(7);
  self.from = Rank(1);
  self.ranks = 3;
  std::array<std::byte, kWelcomeBytes> record{};
  std::memcpy(record.data(), bytes.data(), std::min(bytes.size(), record.size()));
  const std::span whole(record);
  const absl::StatusOr<Hello> hello = DecodeHello(whole.first<kHelloBytes>());
  if (hello.ok()) {
    const Verdict verdict = Judge(self, *hello, /*knows_key=*/true);
    CHECK(!Explain(verdict, self, *hello).empty());
    CHECK(verdict != Verdict::kAccepted || (hello->from.value() >= 0 && hello->from.value() < 3));
    std::array<std::byte, kHelloBytes> encoded;
    Encode(*hello, encoded);
    CHECK(*DecodeHello(encoded) == *hello) << "a hello changes by being sent on";
  }
  const absl::StatusOr<Welcome> welcome = DecodeWelcome(whole);
  if (welcome.ok()) {
    CHECK(!Explain(welcome->verdict, self, welcome->self).empty());
  }
  const MessageHeader expected;
  std::array<std::byte, kHeaderBytes> encoded;
  Encode(expected, encoded);
  if (CheckHeader(whole.first<kHeaderBytes>(), expected).ok()) {
    // The four bytes that only align are nobody's.
    std::memset(record.data() + 12, 0, 4);
    CHECK_EQ(std::memcmp(record.data(), encoded.data(), encoded.size()), 0);
  }
}

}  // namespace
}  // namespace sparkspan::engine::collective

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  sparkspan::engine::collective::Try(std::as_bytes(std::span(data, size)));
  return 0;
}
