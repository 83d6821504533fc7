#include "engine/base/random.h"

namespace sparkspan::engine {
namespace {

constexpr std::uint32_t kMultiplier0 = 0xD2511F53;
constexpr std::uint32_t kMultiplier1 = 0xCD9E8D57;
constexpr std::uint32_t kWeyl0 = 0x9E3779B9;
constexpr std::uint32_t kWeyl1 = 0xBB67AE85;
constexpr int kRounds = 10;

}  // namespace

std::array<std::uint32_t, 4> Philox(const std::array<std::uint32_t, 4>& counter,
                                    const std::array<std::uint32_t, 2>& key) {
  std::array<std::uint32_t, 4> x = counter;
  std::array<std::uint32_t, 2> k = key;
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t product0 = std::uint64_t{kMultiplier0} * x[0];
    const std::uint64_t product1 = std::uint64_t{kMultiplier1} * x[2];
    x = {static_cast<std::uint32_t>(product1 >> 32) ^ x[1] ^ k[0],
         static_cast<std::uint32_t>(product1),
         static_cast<std::uint32_t>(product0 >> 32) ^ x[3] ^ k[1],
         static_cast<std::uint32_t>(product0)};
    k[0] += kWeyl0;
    k[1] += kWeyl1;
  }
  return x;
}

float UniformFloat(std::uint64_t seed,
                   std::uint64_t position,
                   RandomPurpose purpose,
                   std::uint32_t token) {
  const auto block = Philox({static_cast<std::uint32_t>(position),
                             static_cast<std::uint32_t>(position >> 32),
                             static_cast<std::uint32_t>(purpose), token},
                            {static_cast<std::uint32_t>(seed),
                             static_cast<std::uint32_t>(seed >> 32)});
  // The middle of one of 2^23 equal cells, so that neither 0 nor 1 can appear.
  return (static_cast<float>(block[0] >> 9) + 0.5f) * 0x1p-23f;
}

}  // namespace sparkspan::engine
