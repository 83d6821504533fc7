// Arbitrary bytes as a safetensors file.
#include <cstdint>
#include <cstdlib>

#include "engine/weights/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto entries =
      sparkspan::engine::weights::ParseSafetensorsHeader("shard.safetensors", bytes, size);
  if (!entries.ok()) {
    return 0;
  }
  // What was accepted lies inside the file, end to end.
  std::uint64_t end = entries->empty() ? size : entries->front().offset;
  for (const auto& entry : *entries) {
    if (entry.offset != end || entry.bytes > size - end) {
      std::abort();
    }
    end += entry.bytes;
  }
  if (end != size) {
    std::abort();
  }
  return 0;
}
