#include "engine/weights/arena.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_format.h"

namespace sparkspan::engine::weights {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::size_t RoundUp(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

absl::StatusOr<std::shared_ptr<Arena>> Arena::Create(std::int64_t bytes) {
  const std::size_t size = RoundUp(static_cast<std::size_t>(bytes) + 1, kPage);
  const std::size_t mapped = size + kHugePage;
  void* address = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("no memory for %d bytes of weights (%s): use more ranks, or a machine with "
                        "more memory",
                        bytes,
                        std::strerror(errno)));
  }
  // What lies before the first multiple of a huge page and behind the size goes back.
  auto* begin = static_cast<std::byte*>(address);
  const std::size_t lead = RoundUp(reinterpret_cast<std::uintptr_t>(address), kHugePage) -
                           reinterpret_cast<std::uintptr_t>(address);
  if (lead > 0) {
    munmap(begin, lead);
  }
  if (mapped - lead > size) {
    munmap(begin + lead + size, mapped - lead - size);
  }
  // Advice: where the kernel has no huge pages, small ones do.
  (void)madvise(begin + lead, size, MADV_HUGEPAGE);
  return std::shared_ptr<Arena>(new Arena(begin + lead, size));
}

Arena::~Arena() {
  munmap(data_, size_);
}

}  // namespace sparkspan::engine::weights
