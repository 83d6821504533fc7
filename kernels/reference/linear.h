#pragma once

#include <span>

#include "kernels/stored_weight.h"

namespace sparkspan::kernels::reference {

// Row `row` of a weight, decoded exactly: [columns].
void DecodeRow(const StoredWeight& weight, std::int64_t row, std::span<float> out);

// y[n] = sum_k W[n, k] x[k], in double, rounded once to fp32. x: [columns]; y: [rows].
// Quantised activations are given as what they decode to.
void Linear(const StoredWeight& weight, std::span<const float> x, std::span<float> y);

}  // namespace sparkspan::kernels::reference
