#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/numerics/profile.h"

// Narrowing with one power-of-two scale per group of neighbours, and the stored forms of cache
// entries and index keys (kernels/cache_layout.h). These are exact operations: every execution on
// the host uses them, and a device must produce the same bytes.
namespace sparkspan::kernels::reference {

// codes[i] = e4m3(x[i] / scale), scale = 2^ceil(log2(max(amax, 1e-4) / 448)) of each `group`.
// x.size() is a multiple of group; codes: as x; scales: one ue8m0 byte a group.
void QuantiseE4m3(std::span<const float> x,
                  int group,
                  std::span<std::uint8_t> codes,
                  std::span<std::uint8_t> scales);

// The same to e2m1, one code a byte; scale = 2^ceil(log2(max(amax, 6 * 2^-126) / 6)).
void QuantiseE2m1(std::span<const float> x,
                  int group,
                  std::span<std::uint8_t> codes,
                  std::span<std::uint8_t> scales);

// x replaced by what its quantisation decodes to.
void RoundThroughE4m3(std::span<float> x, int group);
void RoundThroughE2m1(std::span<float> x, int group);

// One latent [head_dim] to and from a stored entry; the last rope_dim elements are the rope part.
// In the quantised profile x must hold bf16 values in the rope part for the trip to be exact.
void EncodeEntry(const numerics::NumericsProfile& profile,
                 std::span<const float> x,
                 int rope_dim,
                 std::byte* entry);
void DecodeEntry(const numerics::NumericsProfile& profile,
                 const std::byte* entry,
                 int rope_dim,
                 std::span<float> x);

// One index key [index_dim] to and from its stored form.
void EncodeKey(const numerics::NumericsProfile& profile, std::span<const float> x, std::byte* key);
void DecodeKey(const numerics::NumericsProfile& profile, const std::byte* key, std::span<float> x);

}  // namespace sparkspan::kernels::reference
