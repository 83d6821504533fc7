#pragma once

#include <cstdint>
#include <span>

namespace sparkspan::kernels::reference {

// Slots of a row's list of entries that the published reference reduces at a time.
inline constexpr int kSlotBlock = 64;

// Attention of one query head over entries that are key and value at once, with a sink:
//   s_k = scale (q . e_k);  o = sum_k exp(s_k) e_k / (sum_k exp(s_k) + exp(sink))
// The sink is a logit without a value. q, out: [dim]; entries: [count, dim], in the order in which
// they are added; slots: [count], ascending, each entry's place in the row's list.
//
// All exponentials are taken relative to the largest s_k. With `round`, those that weigh values
// (not those of the denominator) are rounded to bf16 where the published reference rounds them: in
// its running softmax over blocks of 64 slots, relative to the largest score of this and earlier
// blocks; and the result is rounded. No entries: zero.
void Attend(std::span<const float> q,
            std::span<const float> entries,
            std::span<const std::int32_t> slots,
            float sink,
            float scale,
            bool round,
            std::span<float> out);

// What exponentials are relative to: for scores [count] of one head, shifts[k] is the largest score
// up to the end of k's block of slots, and factors[k] brings it to the largest of all. Returns
// that.
float RunningMaxima(std::span<const float> scores,
                    std::span<const std::int32_t> slots,
                    std::span<float> shifts,
                    std::span<float> factors);

// exp(sink - largest), kept finite: beyond that the sink takes everything anyway.
float SinkWeight(float sink, float largest);

}  // namespace sparkspan::kernels::reference
