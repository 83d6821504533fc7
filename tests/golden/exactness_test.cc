// One accumulation chain per number: the same sequence gives the same bits however it is cut into
// chunks, whoever shares its steps, and on any number of threads.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/golden/golden_run.h"

namespace sparkspan::tests {
namespace {

using engine::model::LogitsRows;
using engine::model::SequenceSpan;

class Exactness : public ::testing::TestWithParam<kernels::numerics::NumericsProfile> {
 protected:
  void SetUp() override {
    const auto folder = GoldenPath("model-a");
    if (!folder) {
      GTEST_SKIP() << "no golden data 'model-a'";
    }
    set_ = LoadGoldenSet(*folder);
  }

  RunOptions Options() const {
    RunOptions options;
    options.model.numerics = GetParam();
    return options;
  }

  GoldenSet set_;
};

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && !a.empty() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void ExpectSame(const RunOutput& a, const RunOutput& b, const std::string& what) {
  EXPECT_TRUE(SameBits(a.prefill_logits, b.prefill_logits)) << what;
  EXPECT_TRUE(SameBits(a.decode_logits, b.decode_logits)) << what;
}

TEST_P(Exactness, ChunksGiveTheBitsOfTheWhole) {
  const RunOutput whole = RunPrompt(set_, "p300", Options());
  for (const std::size_t chunk : {1, 3, 64, 128}) {
    RunOptions options = Options();
    options.chunk = chunk;
    ExpectSame(RunPrompt(set_, "p300", options), whole, "chunks of " + std::to_string(chunk));
  }
}

TEST_P(Exactness, ThreadsChangeNoBit) {
  const RunOutput one = RunPrompt(set_, "p130", Options());
  for (const int threads : {2, 3}) {
    RunOptions options = Options();
    options.model.threads = threads;
    options.chunk = 48;
    ExpectSame(RunPrompt(set_, "p130", options), one, std::to_string(threads) + " threads");
  }
}

TEST_P(Exactness, ChunksGiveTheBitsOfTheWholeOnRanks) {
  RunOptions options = Options();
  options.ranks = 2;
  options.experts_whole = GetParam().quantises();
  const RunOutput whole = RunPrompt(set_, "p130", options);
  options.chunk = 7;
  ExpectSame(RunPrompt(set_, "p130", options), whole, "2 ranks in chunks of 7");
  EXPECT_EQ(whole.digests[0], whole.digests[1]);
}

// A sequence of the mixed run: its own state, blocks dealt from one pool.
struct Stream {
  engine::cache::SequenceState state;
  std::vector<engine::Token> tokens;
  std::vector<std::int32_t> blocks;
  std::size_t done = 0;
  std::size_t chunk = 1;
  std::vector<float> logits;  // after its last token
};

TEST_P(Exactness, NeighboursChangeNoBit) {
  const RunOutput alone = RunPrompt(set_, "p300", Options());
  const auto model = WholeModel(set_, Options().model);
  auto pool = *engine::cache::KvPool::Create(model->cache_layout(), 40);
  std::vector<Stream> streams;
  std::int32_t next_block = 0;
  const std::pair<const char*, std::size_t> mix[] = {{"p700", 61},
                                                     {"p7", 2},
                                                     {"p300", 37},
                                                     {"p130", 1},
                                                     {"p1", 1},
                                                     {"p300", 64},
                                                     {"p130", 19},
                                                     {"p700", 5}};
  for (const auto& [prompt, chunk] : mix) {
    Stream& stream = streams.emplace_back(engine::cache::SequenceState(model->cache_layout()));
    stream.tokens = set_.Tokens(prompt);
    stream.chunk = chunk;
    for (std::int32_t i = 0;
         i < engine::cache::KvPool::BlocksFor(static_cast<std::int64_t>(stream.tokens.size()));
         ++i) {
      stream.blocks.push_back(next_block++);
    }
  }
  for (bool running = true; running;) {
    running = false;
    std::vector<SequenceSpan> spans;
    std::vector<Stream*> ran;
    for (Stream& stream : streams) {
      const std::size_t rows = std::min(stream.chunk, stream.tokens.size() - stream.done);
      if (rows == 0) {
        continue;
      }
      spans.push_back({&stream.state,
                       stream.blocks,
                       static_cast<std::int64_t>(stream.done),
                       std::span(stream.tokens).subspan(stream.done, rows),
                       LogitsRows::kLast});
      ran.push_back(&stream);
      stream.done += rows;
    }
    if (spans.empty()) {
      break;
    }
    running = true;
    engine::model::ForwardResult result;
    ASSERT_TRUE(model->Forward(spans, *pool, {}, &result).ok());
    for (std::size_t i = 0; i < ran.size(); ++i) {
      const auto row = static_cast<std::ptrdiff_t>(i) * 640;
      ran[i]->logits.assign(result.logits.begin() + row, result.logits.begin() + row + 640);
    }
  }
  EXPECT_TRUE(SameBits(streams[2].logits, alone.prefill_logits));
  EXPECT_TRUE(SameBits(streams[5].logits, alone.prefill_logits));
  EXPECT_TRUE(SameBits(streams[0].logits, streams[7].logits));
  EXPECT_TRUE(SameBits(streams[3].logits, streams[6].logits));
}

// Rows that a verification rejects are written over: after a rewind the bits are as if they had
// never been.
TEST_P(Exactness, RewoundRowsLeaveNoTrace) {
  constexpr int kDraft = 6;
  RunOptions options = Options();
  options.model.rewind_rows_max = kDraft;
  const std::vector<engine::Token> tokens = set_.Tokens("p300");
  const std::vector<engine::Token> wrong = {5, 6, 7, 8, 9, 10};
  const auto model = WholeModel(set_, options.model);
  const auto run = [&](bool drafts) {
    auto pool = *engine::cache::KvPool::Create(model->cache_layout(), 2);
    engine::cache::SequenceState state(model->cache_layout());
    const std::vector<std::int32_t> blocks = {1, 0};
    std::vector<float> logits;
    engine::model::ForwardResult result;
    const auto step = [&](std::size_t position, std::span<const engine::Token> rows) {
      const SequenceSpan span{
          &state, blocks, static_cast<std::int64_t>(position), rows, LogitsRows::kLast};
      EXPECT_TRUE(model->Forward({&span, 1}, *pool, {}, &result).ok());
    };
    for (std::size_t position = 0; position < 290; position += 1) {
      if (drafts && position % 3 == 0) {
        step(position, wrong);
      }
      step(position, std::span(tokens).subspan(position, 1));
      logits.insert(logits.end(), result.logits.begin(), result.logits.end());
    }
    return logits;
  };
  EXPECT_TRUE(SameBits(run(true), run(false)));
}

INSTANTIATE_TEST_SUITE_P(Profiles,
                         Exactness,
                         ::testing::Values(kernels::numerics::kUnquantised,
                                           kernels::numerics::kQuantised),
                         [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace sparkspan::tests
