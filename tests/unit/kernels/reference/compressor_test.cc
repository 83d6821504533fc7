#include "kernels/reference/compressor.h"

#include <limits>

#include "kernels/reference/linear.h"
#include "kernels/reference/norm.h"
#include "kernels/reference/quantise.h"
#include "kernels/reference/rope.h"
#include "tests/unit/kernels/reference/ops_golden.h"

namespace sparkspan::kernels::reference {
namespace {

struct Case {
  std::string name;
  std::string weights;
  std::size_t ratio;
  std::size_t dim;
  bool rotate;
};

class CompressorGolden : public OpsGolden {
 protected:
  std::vector<float> Compress(const Case& c, bool round) {
    const std::vector<float> x = Floats(c.name + "/x");
    const std::vector<float> ape = Floats(c.weights + "/ape");
    const std::size_t inputs = 128;
    const std::size_t tokens = x.size() / inputs;
    const std::size_t width = c.ratio == 4 ? 2 * c.dim : c.dim;
    std::vector<float> values(tokens * width), gates(tokens * width);
    for (std::size_t t = 0; t < tokens; ++t) {
      Linear(Weight(c.weights + "/wkv"), Row(x, t, inputs), Row(values, t, width));
      Linear(Weight(c.weights + "/wgate"), Row(x, t, inputs), Row(gates, t, width));
      for (std::size_t i = 0; i < width; ++i) {
        gates[t * width + i] += ape[t % c.ratio * width + i];
      }
    }
    std::vector<float> out(tokens / c.ratio * c.dim);
    for (std::size_t j = 0; j < tokens / c.ratio; ++j) {
      std::vector<PoolingCandidate> candidates;
      const std::size_t first = c.ratio == 4 && j > 0 ? 4 * j - 4 : c.ratio * j;
      for (std::size_t t = first; t < c.ratio * (j + 1); ++t) {
        const std::size_t half = c.ratio == 4 && t >= 4 * j ? c.dim : 0;
        candidates.push_back({&values[t * width + half], &gates[t * width + half]});
      }
      Finish(c, j, candidates, round, Row(out, j, c.dim));
    }
    return out;
  }

 private:
  void Finish(const Case& c,
              std::size_t j,
              std::span<const PoolingCandidate> candidates,
              bool round,
              std::span<float> entry) {
    const Yarn yarn{16.0f, 512, 32.0f, 1.0f};
    const Rope rope(64, 160000.0f, &yarn);
    PoolCandidates(candidates, round, entry);
    RmsNorm(entry, Floats(c.weights + "/norm"), 1e-6f, round, entry);
    std::vector<float> cosines(32), sines(32);
    rope.Table(static_cast<std::int64_t>(c.ratio * j), cosines, sines);
    ApplyRope(entry.last(64), cosines, sines, false, round);
    if (c.rotate) {
      Hadamard(entry, round);
      if (round) {
        RoundThroughE2m1(entry, 32);
      }
    } else if (round) {
      RoundThroughE4m3(entry.first(c.dim - 64), 64);
    }
  }
};

TEST_F(CompressorGolden, CompressedEntries) {
  const Case cases[] = {{"compressor4", "compressor4", 4, 512, false},
                        {"compressor4_indexer", "compressor4_indexer", 4, 128, true},
                        {"compressor4_from3", "compressor4_from3", 4, 128, false},
                        {"compressor4_from1", "compressor4_from1", 4, 128, true},
                        {"compressor128", "compressor128", 128, 512, false},
                        {"compressor128_from5", "compressor128", 128, 512, false}};
  for (const Case& c : cases) {
    ExpectClose(c.name, Compress(c, false), Floats(c.name + "/hp.compressed"));
    ExpectRelativeRms(c.name + ", rounded", Compress(c, true), Floats(c.name + "/rf.compressed"));
  }
}

}  // namespace
}  // namespace sparkspan::kernels::reference
