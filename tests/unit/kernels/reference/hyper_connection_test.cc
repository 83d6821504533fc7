#include "kernels/reference/hyper_connection.h"

#include "kernels/reference/linear.h"
#include "tests/unit/kernels/reference/ops_golden.h"

namespace sparkspan::kernels::reference {
namespace {

constexpr std::size_t kStreams = 4;

std::vector<float> Mixes(std::span<const float> h, const StoredWeight& fn) {
  double squares = 0.0;
  for (const float value : h) {
    squares += static_cast<double>(value) * value;
  }
  const double scale = 1.0 / std::sqrt(squares / static_cast<double>(h.size()) + 1e-6);
  std::vector<float> mixes(static_cast<std::size_t>(fn.rows));
  Linear(fn, h, mixes);
  for (float& value : mixes) {
    value = static_cast<float>(value * scale);
  }
  return mixes;
}

TEST_F(OpsGolden, HyperConnectionSites) {
  const std::vector<float> x = Floats("hc/x");
  const std::vector<float> branch = Floats("hc/branch_out");
  const std::vector<float> base = Floats("hc/base");
  const std::vector<float> scale = Floats("hc/scale");
  const std::size_t rows = 10, hidden = 128;
  for (const bool round : {false, true}) {
    std::vector<float> u(rows * hidden), post(rows * 4), comb(rows * 16), out = x;
    std::vector<float> head(rows * hidden);
    for (std::size_t t = 0; t < rows; ++t) {
      const auto h = Row(out, t, kStreams * hidden);
      std::vector<float> pre(kStreams);
      SplitMixes(Mixes(h, Weight("hc/fn")),
                 base,
                 scale,
                 4,
                 20,
                 1e-6f,
                 pre,
                 Row(post, t, 4),
                 Row(comb, t, 16));
      MixStreams(h, pre, round, Row(u, t, hidden));
      HeadMixes(Mixes(h, Weight("hc/head_fn")),
                Floats("hc/head_base"),
                Floats("hc/head_scale")[0],
                1e-6f,
                pre);
      MixStreams(h, pre, round, Row(head, t, hidden));
      ReturnToStreams(Row(branch, t, hidden), Row(post, t, 4), Row(comb, t, 16), round, h);
    }
    const std::string mode = round ? "hc/rf." : "hc/hp.";
    ExpectClose(mode + "post", post, Floats(mode + "post"));
    ExpectClose(mode + "comb", comb, Floats(mode + "comb"));
    const auto compare = [&](const std::string& name, const std::vector<float>& actual) {
      if (round) {
        ExpectRelativeRms(mode + name, actual, Floats(mode + name));
      } else {
        ExpectClose(mode + name, actual, Floats(mode + name));
      }
    };
    compare("pre_out", u);
    compare("post_out", out);
    compare("head_out", head);
  }
}

TEST_F(OpsGolden, Sinkhorn) {
  const std::vector<float> mixes = Floats("sinkhorn/mixes");
  std::vector<float> pre(24 * 4), post(24 * 4), comb(24 * 16);
  for (std::size_t t = 0; t < 24; ++t) {
    SplitMixes(Row(mixes, t, 24),
               Floats("sinkhorn/base"),
               Floats("sinkhorn/scale"),
               4,
               20,
               1e-6f,
               Row(pre, t, 4),
               Row(post, t, 4),
               Row(comb, t, 16));
  }
  ExpectClose("sinkhorn/pre", pre, Floats("sinkhorn/pre"));
  ExpectClose("sinkhorn/post", post, Floats("sinkhorn/post"));
  ExpectClose("sinkhorn/comb", comb, Floats("sinkhorn/comb"));
}

}  // namespace
}  // namespace sparkspan::kernels::reference
