#include "deploy/cli/read_bandwidth.h"

#include <chrono>
#include <cstring>
#include <vector>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/status.h"

namespace sparkspan::deploy::cli {
namespace {

// A page: what one thread's stretch is a multiple of.
constexpr std::int64_t kGrain = 4096;
constexpr std::size_t kLine = 64;

// Four sums, so that no addition waits for the one before: far more than memory gives.
std::uint64_t SumOf(std::span<const std::byte> bytes) {
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  std::uint64_t c = 0;
  std::uint64_t d = 0;
  for (std::size_t i = 0; i + kLine <= bytes.size(); i += kLine) {
    const auto word = [&](std::size_t place) {
      std::uint64_t value;
      std::memcpy(&value, &bytes[i + 8 * place], sizeof(value));
      return value;
    };
    a += word(0) + word(4);
    b += word(1) + word(5);
    c += word(2) + word(6);
    d += word(3) + word(7);
  }
  return a + b + c + d;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ReadBandwidth>> ReadBandwidth::Create(std::int64_t bytes,
                                                                     int threads) {
  const std::int64_t rounded = bytes / kGrain * kGrain;
  ASSIGN_OR_RETURN(auto buffer, engine::weights::Arena::Create(rounded));
  // Pages that were never written would all be one page of zeros.
  std::memset(buffer->bytes().data(), 1, buffer->bytes().size());
  return std::unique_ptr<ReadBandwidth>(new ReadBandwidth(std::move(buffer), threads));
}

double ReadBandwidth::Pass() {
  const std::span<const std::byte> bytes = buffer_->bytes();
  std::vector<std::uint64_t> sums(static_cast<std::size_t>(team_.threads()));
  const engine::SteadyClock clock;
  const engine::Time began = clock.Now();
  team_.Run(static_cast<std::int64_t>(bytes.size()),
            kGrain,
            [&](std::int64_t begin, std::int64_t end, int thread) {
              sums[static_cast<std::size_t>(thread)] = SumOf(bytes.subspan(
                  static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)));
            });
  const std::chrono::duration<double> took = clock.Now() - began;
  // What is read must be used, or the compiler leaves the reading out.
  std::uint64_t sum = 0;
  for (const std::uint64_t part : sums) {
    sum += part;
  }
  CHECK_EQ(sum, bytes.size() / 8 * 0x0101010101010101u);
  return static_cast<double>(bytes.size()) / took.count();
}

}  // namespace sparkspan::deploy::cli
