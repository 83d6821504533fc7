#include "kernels/reference/hyper_connection.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/numerics/formats.h"

namespace sparkspan::kernels::reference {
namespace {

double Sigmoid(double x) {
  return 1.0 / (1.0 + std::exp(-x));
}

float Rounded(double value, bool round) {
  const auto single = static_cast<float>(value);
  return round ? numerics::RoundToBf16(single) : single;
}

void SoftmaxRows(std::vector<double>& c, std::size_t m, double epsilon) {
  for (std::size_t i = 0; i < m; ++i) {
    double* row = &c[i * m];
    const double largest = *std::max_element(row, row + m);
    double sum = 0.0;
    for (std::size_t j = 0; j < m; ++j) {
      row[j] = std::exp(row[j] - largest);
      sum += row[j];
    }
    for (std::size_t j = 0; j < m; ++j) {
      row[j] = row[j] / sum + epsilon;
    }
  }
}

// Divides each line by its sum plus epsilon: lines are rows (stride m, step 1) or columns.
void NormaliseLines(std::vector<double>& c, std::size_t m, bool rows, double epsilon) {
  const std::size_t line = rows ? m : 1;
  const std::size_t step = rows ? 1 : m;
  for (std::size_t i = 0; i < m; ++i) {
    double sum = epsilon;
    for (std::size_t j = 0; j < m; ++j) {
      sum += c[i * line + j * step];
    }
    for (std::size_t j = 0; j < m; ++j) {
      c[i * line + j * step] /= sum;
    }
  }
}

}  // namespace

void SplitMixes(std::span<const float> mixes,
                std::span<const float> base,
                std::span<const float> scale,
                int streams,
                int iterations,
                float epsilon,
                std::span<float> pre,
                std::span<float> post,
                std::span<float> comb) {
  const auto m = static_cast<std::size_t>(streams);
  const auto affine = [&](std::size_t i, std::size_t part) {
    return static_cast<double>(mixes[i]) * scale[part] + base[i];
  };
  for (std::size_t i = 0; i < m; ++i) {
    pre[i] = static_cast<float>(Sigmoid(affine(i, 0)) + epsilon);
    post[i] = static_cast<float>(2.0 * Sigmoid(affine(m + i, 1)));
  }
  std::vector<double> c(m * m);
  for (std::size_t i = 0; i < m * m; ++i) {
    c[i] = affine(2 * m + i, 2);
  }
  SoftmaxRows(c, m, epsilon);
  NormaliseLines(c, m, /*rows=*/false, epsilon);
  for (int iteration = 1; iteration < iterations; ++iteration) {
    NormaliseLines(c, m, /*rows=*/true, epsilon);
    NormaliseLines(c, m, /*rows=*/false, epsilon);
  }
  std::transform(
      c.begin(), c.end(), comb.begin(), [](double value) { return static_cast<float>(value); });
}

void HeadMixes(std::span<const float> mixes,
               std::span<const float> base,
               float scale,
               float epsilon,
               std::span<float> pre) {
  for (std::size_t i = 0; i < mixes.size(); ++i) {
    pre[i] = static_cast<float>(Sigmoid(static_cast<double>(mixes[i]) * scale + base[i]) + epsilon);
  }
}

void MixStreams(std::span<const float> h,
                std::span<const float> pre,
                bool round,
                std::span<float> u) {
  for (std::size_t k = 0; k < u.size(); ++k) {
    double sum = 0.0;
    for (std::size_t i = 0; i < pre.size(); ++i) {
      sum += static_cast<double>(pre[i]) * h[i * u.size() + k];
    }
    u[k] = Rounded(sum, round);
  }
}

void ReturnToStreams(std::span<const float> y,
                     std::span<const float> post,
                     std::span<const float> comb,
                     bool round,
                     std::span<float> h) {
  const std::size_t m = post.size();
  const std::size_t hidden = y.size();
  std::vector<double> old(m);
  for (std::size_t k = 0; k < hidden; ++k) {
    for (std::size_t i = 0; i < m; ++i) {
      old[i] = h[i * hidden + k];
    }
    for (std::size_t j = 0; j < m; ++j) {
      double sum = static_cast<double>(post[j]) * y[k];
      for (std::size_t i = 0; i < m; ++i) {
        sum += static_cast<double>(comb[i * m + j]) * old[i];
      }
      h[j * hidden + k] = Rounded(sum, round);
    }
  }
}

}  // namespace sparkspan::kernels::reference
