#include "kernels/cpu/vector_targets.h"  // first: chooses what highway.h compiles for
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/vector_rows.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#include <hwy/contrib/math/math-inl.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/lanes-inl.h"
#include "kernels/cpu/vector_kernels.h"
#include "kernels/reference/attention.h"

// Everything but the products: element-wise work, norms, attention, index scores. Row widths are
// multiples of 16.
HWY_BEFORE_NAMESPACE();
namespace sparkspan::kernels::cpu {
namespace HWY_NAMESPACE {

HWY_INLINE FloatVector MaybeRound(FloatVector value, bool round) {
  return round ? RoundVector(value) : value;
}

double SumOfSquares(std::span<const float> x) {
  Sixteen sums = ZeroSixteen();
  for (std::size_t i = 0; i < x.size(); i += kSums) {
    const Sixteen value = LoadSixteen(&x[i]);
    MultiplyAdd(value, value, &sums);
  }
  return ReduceSixteen(sums);
}

double SumOfRoundedSquares(std::span<const float> x) {
  Sixteen sums = ZeroSixteen();
  for (std::size_t i = 0; i < x.size(); i += kSums) {
    const Sixteen value = LoadSixteen(&x[i]);
    for (std::size_t p = 0; p < kParts; ++p) {
      sums.part[p] = hn::Add(sums.part[p], RoundVector(hn::Mul(value.part[p], value.part[p])));
    }
  }
  return ReduceSixteen(sums);
}

void ScaleRows(std::span<const float> x,
               float scale,
               std::span<const float> gain,
               bool round,
               std::span<float> y) {
  const FloatTag d;
  const FloatVector factor = hn::Set(d, scale);
  for (std::size_t i = 0; i < x.size(); i += kVectorLanes) {
    FloatVector value = hn::Mul(hn::LoadU(d, &x[i]), factor);
    if (!gain.empty()) {
      value = hn::Mul(value, hn::LoadU(d, &gain[i]));
    }
    hn::StoreU(MaybeRound(value, round), d, &y[i]);
  }
}

void MixRows(std::span<const float> h, std::span<const float> pre, bool round, std::span<float> u) {
  const FloatTag d;
  for (std::size_t k = 0; k < u.size(); k += kVectorLanes) {
    FloatVector sum = hn::Mul(hn::Set(d, pre[0]), hn::LoadU(d, &h[k]));
    for (std::size_t i = 1; i < pre.size(); ++i) {
      sum = hn::MulAdd(hn::Set(d, pre[i]), hn::LoadU(d, &h[i * u.size() + k]), sum);
    }
    hn::StoreU(MaybeRound(sum, round), d, &u[k]);
  }
}

// At most this many streams are kept in registers.
constexpr std::size_t kStreamsMax = 8;

void ReturnRows(std::span<const float> y,
                std::span<const float> post,
                std::span<const float> comb,
                bool round,
                std::span<float> h) {
  const FloatTag d;
  const std::size_t m = post.size();
  const std::size_t hidden = y.size();
  for (std::size_t k = 0; k < hidden; k += kVectorLanes) {
    FloatVector old[kStreamsMax];
    for (std::size_t i = 0; i < m; ++i) {
      old[i] = hn::LoadU(d, &h[i * hidden + k]);
    }
    const FloatVector value = hn::LoadU(d, &y[k]);
    for (std::size_t j = 0; j < m; ++j) {
      FloatVector sum = hn::Mul(hn::Set(d, post[j]), value);
      for (std::size_t i = 0; i < m; ++i) {
        sum = hn::MulAdd(hn::Set(d, comb[i * m + j]), old[i], sum);
      }
      hn::StoreU(MaybeRound(sum, round), d, &h[j * hidden + k]);
    }
  }
}

void SwiGluRow(
    std::span<float> gate, std::span<const float> up, float limit, float weight, bool round) {
  const FloatTag d;
  const FloatVector one = hn::Set(d, 1.0f);
  const FloatVector high = hn::Set(d, limit > 0.0f ? limit : 3e38f);
  const FloatVector low = hn::Neg(high);
  for (std::size_t i = 0; i < gate.size(); i += kVectorLanes) {
    const FloatVector a = hn::Min(hn::LoadU(d, &gate[i]), high);
    const FloatVector b = hn::Max(hn::Min(hn::LoadU(d, &up[i]), high), low);
    const FloatVector sigmoid_inverse = hn::Add(one, hn::Exp(d, hn::Neg(a)));
    const FloatVector value = hn::Mul(hn::Mul(hn::Div(a, sigmoid_inverse), b), hn::Set(d, weight));
    hn::StoreU(MaybeRound(value, round), d, &gate[i]);
  }
}

// Rounds to e4m3's grid: the mantissa to three bits, or below 2^-6 to multiples of 2^-9.
HWY_INLINE FloatVector RoundToE4m3Grid(FloatVector value) {
  const FloatTag d;
  const hn::RebindToUnsigned<FloatTag> du;
  const FloatVector magnitude = hn::Min(hn::Abs(value), hn::Set(d, numerics::kE4m3Max));
  const auto bits = hn::BitCast(du, magnitude);
  const auto odd = hn::And(hn::ShiftRight<20>(bits), hn::Set(du, 1u));
  const auto rounded =
      hn::And(hn::Add(hn::Add(bits, hn::Set(du, 0x7FFFFu)), odd), hn::Set(du, 0xFFF00000u));
  const FloatVector shift = hn::Set(d, 0x1.8p14f);
  const FloatVector small = hn::Sub(hn::Add(magnitude, shift), shift);
  const FloatVector result =
      hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0x1p-6f)), small, hn::BitCast(d, rounded));
  return hn::CopySign(result, value);
}

void RoundRowThroughE4m3(std::span<float> x, int group) {
  const FloatTag d;
  const auto size = static_cast<std::size_t>(group);
  for (std::size_t begin = 0; begin < x.size(); begin += size) {
    FloatVector amax = hn::Set(d, numerics::kE4m3AmaxMin);
    for (std::size_t i = begin; i < begin + size; i += kVectorLanes) {
      amax = hn::Max(amax, hn::Abs(hn::LoadU(d, &x[i])));
    }
    const std::uint32_t code =
        numerics::Ue8m0ScaleOf(hn::GetLane(hn::MaxOfLanes(d, amax)), numerics::kE4m3Max);
    const FloatVector inverse = hn::Set(d, numerics::Ue8m0InverseOf(code));
    const FloatVector scale = hn::Set(d, numerics::FloatOfUe8m0(code));
    for (std::size_t i = begin; i < begin + size; i += kVectorLanes) {
      const FloatVector value = RoundToE4m3Grid(hn::Mul(hn::LoadU(d, &x[i]), inverse));
      hn::StoreU(hn::Mul(value, scale), d, &x[i]);
    }
  }
}

void DecodeE4m3Row(std::span<const std::uint8_t> codes, float scale, float* out) {
  const FloatVector factor = hn::Set(FloatTag(), scale * kE4m3Factor);
  for (std::size_t i = 0; i < codes.size(); i += kSums) {
    Sixteen value = DecodeE4m3Sixteen(&codes[i]);
    Scale(&value, factor);
    StoreSixteen(value, out + i);
  }
}

void DecodeE2m1Row(std::span<const std::uint8_t> bytes, float scale, float* out) {
  const FloatVector factor = hn::Set(FloatTag(), scale);
  for (std::size_t i = 0; i < bytes.size(); i += 16) {
    Sixteen first;
    Sixteen second;
    DecodeE2m1(&bytes[i], factor, &first, &second);
    StoreSixteen(first, out + 2 * i);
    StoreSixteen(second, out + 2 * i + kSums);
  }
}

// products[r, n] = a row n times x row r, all [.., dim]; the same chain whatever the neighbours.
void Products(const float* a,
              std::size_t count,
              const float* x,
              std::size_t rows,
              std::size_t dim,
              float* products,
              std::size_t stride) {
  const auto dots = [&]<int kW, int kX>(std::size_t n, std::size_t r) {
    const float* w[kW];
    const float* from[kX];
    float sums[kW * kX * static_cast<int>(kSums)] = {};
    for (int i = 0; i < kW; ++i) {
      w[i] = a + (n + static_cast<std::size_t>(i)) * dim;
    }
    for (int j = 0; j < kX; ++j) {
      from[j] = x + (r + static_cast<std::size_t>(j)) * dim;
    }
    DotTile<kW, kX>(w, from, dim, sums);
    for (int i = 0; i < kW; ++i) {
      for (int j = 0; j < kX; ++j) {
        products[(r + static_cast<std::size_t>(j)) * stride + n + static_cast<std::size_t>(i)] =
            ReduceSixteen(sums + (i * kX + j) * static_cast<int>(kSums));
      }
    }
  };
  std::size_t n = 0;
  for (; n + 2 <= count; n += 2) {
    std::size_t r = 0;
    for (; r + 2 <= rows; r += 2) {
      dots.template operator()<2, 2>(n, r);
    }
    for (; r < rows; ++r) {
      dots.template operator()<2, 1>(n, r);
    }
  }
  for (; n < count; ++n) {
    for (std::size_t r = 0; r < rows; ++r) {
      dots.template operator()<1, 1>(n, r);
    }
  }
}

// Turns scores [count], followed by padding to a multiple of 16, into weights; returns the
// denominator. shifts and factors have the padded size; padding weighs nothing.
float SoftmaxRow(std::span<float> scores,
                 std::span<const std::int32_t> slots,
                 float scale,
                 float sink,
                 bool round,
                 std::span<float> shifts,
                 std::span<float> factors) {
  const FloatTag d;
  const std::size_t count = slots.size();
  for (std::size_t k = 0; k < count; ++k) {
    scores[k] *= scale;
  }
  const float largest = reference::RunningMaxima(scores.first(count), slots, shifts, factors);
  for (std::size_t k = count; k < scores.size(); ++k) {
    scores[k] = shifts[k] = factors[k] = 0.0f;
  }
  Sixteen sums = ZeroSixteen();
  const FloatVector floor = hn::Set(d, -100.0f);  // exp of less is zero among these sums
  for (std::size_t k = 0; k < scores.size(); k += kSums) {
    Sixteen value = LoadSixteen(&scores[k]);
    const Sixteen shift = LoadSixteen(&shifts[k]);
    const Sixteen factor = LoadSixteen(&factors[k]);
    for (std::size_t p = 0; p < kParts; ++p) {
      const FloatVector exponent = hn::Sub(value.part[p], shift.part[p]);
      const FloatVector weight =
          hn::IfThenElseZero(hn::Gt(exponent, floor), hn::Exp(d, hn::Max(exponent, floor)));
      sums.part[p] = hn::MulAdd(weight, factor.part[p], sums.part[p]);
      value.part[p] = hn::Mul(MaybeRound(weight, round), factor.part[p]);
    }
    StoreSixteen(value, &scores[k]);
  }
  return ReduceSixteen(sums) + reference::SinkWeight(sink, largest);
}

// out[h] = sum_k weights[h, k] entries[k], k ascending, for kHeads heads and four vectors of
// channels at a time.
template <int kHeads>
HWY_INLINE void WeighEntries(const float* weights,
                             std::size_t stride,
                             const float* entries,
                             std::size_t count,
                             std::size_t dim,
                             const float* denominators,
                             bool round,
                             float* out) {
  constexpr std::size_t kBlock = 4;
  const FloatTag d;
  for (std::size_t c = 0; c < dim; c += kBlock * kVectorLanes) {
    FloatVector sums[kHeads][kBlock];
    for (auto& head : sums) {
      for (FloatVector& sum : head) {
        sum = hn::Zero(d);
      }
    }
    for (std::size_t k = 0; k < count; ++k) {
      FloatVector weight[kHeads];
      for (std::size_t h = 0; h < kHeads; ++h) {
        weight[h] = hn::Set(d, weights[h * stride + k]);
      }
      for (std::size_t b = 0; b < kBlock; ++b) {
        const FloatVector value = hn::LoadU(d, entries + k * dim + c + b * kVectorLanes);
        for (std::size_t h = 0; h < kHeads; ++h) {
          sums[h][b] = hn::MulAdd(weight[h], value, sums[h][b]);
        }
      }
    }
    for (std::size_t h = 0; h < kHeads; ++h) {
      for (std::size_t b = 0; b < kBlock; ++b) {
        const FloatVector value = hn::Div(sums[h][b], hn::Set(d, denominators[h]));
        hn::StoreU(MaybeRound(value, round), d, out + h * dim + c + b * kVectorLanes);
      }
    }
  }
}

void AttendHeads(std::span<const float> q,
                 std::span<const float> entries,
                 std::span<const std::int32_t> slots,
                 std::span<const float> sinks,
                 float scale,
                 bool round,
                 std::span<float> out) {
  const std::size_t heads = sinks.size();
  const std::size_t dim = q.size() / heads;
  const std::size_t count = slots.size();
  const std::size_t padded = (count + kSums - 1) / kSums * kSums;
  std::vector<float> weights(heads * padded);
  std::vector<float> denominators(heads);
  std::vector<float> shifts(padded);
  std::vector<float> factors(padded);
  Products(entries.data(), count, q.data(), heads, dim, weights.data(), padded);
  for (std::size_t h = 0; h < heads; ++h) {
    denominators[h] = SoftmaxRow(std::span<float>(weights).subspan(h * padded, padded),
                                 slots,
                                 scale,
                                 sinks[h],
                                 round,
                                 shifts,
                                 factors);
  }
  std::size_t h = 0;
  for (; h + 2 <= heads; h += 2) {
    WeighEntries<2>(&weights[h * padded],
                    padded,
                    entries.data(),
                    count,
                    dim,
                    &denominators[h],
                    round,
                    &out[h * dim]);
  }
  for (; h < heads; ++h) {
    WeighEntries<1>(&weights[h * padded],
                    padded,
                    entries.data(),
                    count,
                    dim,
                    &denominators[h],
                    round,
                    &out[h * dim]);
  }
}

void ScoreKeys(std::span<const float> queries,
               std::span<const float> weights,
               std::span<const float> keys,
               bool round,
               std::span<float> scores) {
  const FloatTag d;
  const std::size_t heads = weights.size();
  const std::size_t dim = queries.size() / heads;
  const std::size_t count = scores.size();
  const std::size_t padded = (count + kSums - 1) / kSums * kSums;
  std::vector<float> products(heads * padded);
  std::vector<float> sums(padded);
  Products(keys.data(), count, queries.data(), heads, dim, products.data(), padded);
  for (std::size_t j = 0; j < padded; j += kVectorLanes) {
    FloatVector sum = hn::Zero(d);
    for (std::size_t h = 0; h < heads; ++h) {
      const FloatVector product = MaybeRound(hn::LoadU(d, &products[h * padded + j]), round);
      const FloatVector clipped = hn::Max(product, hn::Zero(d));
      sum = hn::Add(sum, MaybeRound(hn::Mul(clipped, hn::Set(d, weights[h])), round));
    }
    hn::StoreU(MaybeRound(sum, round), d, &sums[j]);
  }
  std::copy_n(sums.begin(), count, scores.begin());
}

}  // namespace HWY_NAMESPACE
}  // namespace sparkspan::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sparkspan::kernels::cpu {

HWY_EXPORT(SumOfSquares);
HWY_EXPORT(SumOfRoundedSquares);
HWY_EXPORT(ScaleRows);
HWY_EXPORT(MixRows);
HWY_EXPORT(ReturnRows);
HWY_EXPORT(SwiGluRow);
HWY_EXPORT(RoundRowThroughE4m3);
HWY_EXPORT(DecodeE4m3Row);
HWY_EXPORT(DecodeE2m1Row);
HWY_EXPORT(AttendHeads);
HWY_EXPORT(ScoreKeys);

double VectorSumOfSquares(std::span<const float> x) {
  return HWY_DYNAMIC_DISPATCH(SumOfSquares)(x);
}

double VectorSumOfRoundedSquares(std::span<const float> x) {
  return HWY_DYNAMIC_DISPATCH(SumOfRoundedSquares)(x);
}

void VectorScale(std::span<const float> x,
                 float scale,
                 std::span<const float> gain,
                 bool round,
                 std::span<float> y) {
  HWY_DYNAMIC_DISPATCH(ScaleRows)(x, scale, gain, round, y);
}

void VectorMixStreams(std::span<const float> h,
                      std::span<const float> pre,
                      bool round,
                      std::span<float> u) {
  HWY_DYNAMIC_DISPATCH(MixRows)(h, pre, round, u);
}

void VectorReturnToStreams(std::span<const float> y,
                           std::span<const float> post,
                           std::span<const float> comb,
                           bool round,
                           std::span<float> h) {
  HWY_DYNAMIC_DISPATCH(ReturnRows)(y, post, comb, round, h);
}

void VectorSwiGlu(
    std::span<float> gate, std::span<const float> up, float limit, float weight, bool round) {
  HWY_DYNAMIC_DISPATCH(SwiGluRow)(gate, up, limit, weight, round);
}

void VectorRoundThroughE4m3(std::span<float> x, int group) {
  HWY_DYNAMIC_DISPATCH(RoundRowThroughE4m3)(x, group);
}

void VectorDecodeE4m3(std::span<const std::uint8_t> codes, float scale, float* out) {
  HWY_DYNAMIC_DISPATCH(DecodeE4m3Row)(codes, scale, out);
}

void VectorDecodeE2m1(std::span<const std::uint8_t> bytes, float scale, float* out) {
  HWY_DYNAMIC_DISPATCH(DecodeE2m1Row)(bytes, scale, out);
}

void VectorAttend(std::span<const float> q,
                  std::span<const float> entries,
                  std::span<const std::int32_t> slots,
                  std::span<const float> sinks,
                  float scale,
                  bool round,
                  std::span<float> out) {
  HWY_DYNAMIC_DISPATCH(AttendHeads)(q, entries, slots, sinks, scale, round, out);
}

void VectorIndexScores(std::span<const float> queries,
                       std::span<const float> weights,
                       std::span<const float> keys,
                       bool round,
                       std::span<float> scores) {
  HWY_DYNAMIC_DISPATCH(ScoreKeys)(queries, weights, keys, round, scores);
}

}  // namespace sparkspan::kernels::cpu
#endif
