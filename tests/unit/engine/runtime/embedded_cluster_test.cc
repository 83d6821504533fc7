// Requests over whole clusters of real models: the same bits whoever shares the steps, and nothing
// said when ranks disagree.
#include "engine/runtime/embedded_cluster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "engine/schedule/scheduler.h"
#include "tests/golden_path.h"
#include "tests/unit/engine/runtime/guests.h"
#include "tests/unit/engine/runtime/loaded_model.h"

namespace sparkspan::engine::runtime {
namespace {

using ::testing::HasSubstr;

Time Soon() {
  return SteadyClock().Now() + std::chrono::minutes(5);
}

std::vector<Token> RandomTokens(std::size_t count, Token vocabulary, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<Token> tokens(count);
  std::generate(tokens.begin(), tokens.end(), [&] {
    return static_cast<Token>(random() % static_cast<std::uint32_t>(vocabulary));
  });
  return tokens;
}

std::unique_ptr<EmbeddedCluster> MakeCluster(const std::filesystem::path& folder,
                                             int ranks,
                                             int threads) {
  model::ModelOptions model;
  model.threads = threads;
  EmbeddedClusterOptions options;
  options.ranks = ranks;
  options.executor = {.kv_blocks = 12, .sequences_max = 8, .step_rows_max = 1024};
  options.load = LoaderOf(folder, ranks, model);
  return EmbeddedCluster::Create(std::move(options), Soon()).value();
}

// Draws with log-probabilities, so that equal answers mean equal bits of the logits.
SamplingParams Drawn(std::uint64_t seed) {
  SamplingParams sampling;
  sampling.temperature = 0.9f;
  sampling.top_p = 0.95f;
  sampling.seed = seed;
  sampling.top_logprobs = 4;
  return sampling;
}

constexpr SequenceId kHero{50};

// Long enough that the indexer of model-a must choose among entries.
Guest Hero(std::size_t chunk) {
  return {.id = kHero,
          .prompt = RandomTokens(150, 600, 1),
          .sampling = Drawn(11),
          .chunk = chunk,
          .arrives = 0,
          .max_tokens = 5};
}

std::vector<Guest> HeroAndSevenOthers(std::size_t chunk) {
  std::vector<Guest> guests;
  for (std::uint32_t i = 0; i < 7; ++i) {
    guests.push_back({.id = SequenceId(i + 1),
                      .prompt = RandomTokens(1 + 9 * i, 600, 100 + i),
                      .sampling = Drawn(i),
                      .chunk = 3 + 4 * i,
                      .arrives = static_cast<int>((i * 5) % 11),
                      .max_tokens = 1 + i % 4});
  }
  guests.insert(guests.begin() + 3, Hero(chunk));
  guests[3].arrives = 2;
  return guests;
}

class Checkpoint : public ::testing::TestWithParam<std::pair<const char*, int>> {
 protected:
  void SetUp() override {
    const std::string name = GetParam().first;
    if (name == "demo") {
      folder_ = "deploy/demo/model";
    } else if (const auto path = tests::GoldenPath("model-a")) {
      folder_ = *path;
    } else {
      GTEST_SKIP() << "no golden data 'model-a'";
    }
  }

  int ranks() const { return GetParam().second; }

  std::filesystem::path folder_;
};

TEST_P(Checkpoint, ARequestAloneIsTheRequestAmongOthers) {
  const auto cluster = MakeCluster(folder_, ranks(), 1);
  GuestHouse alone(cluster.get(), {Hero(1 << 20)});
  alone.RunAll();
  const auto expected = alone.tokens(kHero);
  ASSERT_EQ(expected.size(), 5u);
  const auto two_threads = MakeCluster(folder_, ranks(), 2);
  std::uint64_t epoch = 1;
  const std::pair<std::size_t, EmbeddedCluster*> runs[] = {{1, cluster.get()},
                                                           {3, two_threads.get()},
                                                           {64, cluster.get()},
                                                           {128, two_threads.get()},
                                                           {150, two_threads.get()}};
  for (const auto& [chunk, host] : runs) {
    ASSERT_TRUE(host->Reform(Epoch(++epoch), Soon()).ok());
    GuestHouse house(host, HeroAndSevenOthers(chunk));
    house.RunAll();
    EXPECT_EQ(house.tokens(kHero), expected) << "in chunks of " << chunk;
  }
}

class OnOneRank : public Checkpoint {};

TEST_P(OnOneRank, GreedyTokensAreThoseOfTheModel) {
  Guest guest = Hero(64);
  guest.sampling.temperature = 0;
  guest.max_tokens = 8;
  const auto cluster = MakeCluster(folder_, 1, 1);
  GuestHouse house(cluster.get(), {guest});
  house.RunAll();

  const auto model = LoaderOf(folder_, 1, {})(Rank(0), nullptr).value();
  const auto pool = cache::KvPool::Create(model->cache_layout(), 1).value();
  cache::SequenceState state(model->cache_layout());
  const std::vector<std::int32_t> blocks = {0};
  std::vector<Token> rows = guest.prompt;
  std::int64_t position = 0;
  for (const CommittedToken& token : house.tokens(kHero)) {
    const model::SequenceSpan span{&state, blocks, position, rows, model::LogitsRows::kLast};
    model::ForwardResult result;
    ASSERT_TRUE(model->Forward({&span, 1}, *pool, {}, &result).ok());
    const auto best = std::max_element(result.logits.begin(), result.logits.end());
    EXPECT_EQ(token.token, best - result.logits.begin());
    position += static_cast<std::int64_t>(rows.size());
    rows = {token.token};
  }
}

// The planner's own steps, one or two in flight.
TEST_P(Checkpoint, ServesRequestsAsIfEachWereAlone) {
  const auto cluster = MakeCluster(folder_, ranks(), 1);
  std::map<SequenceId, std::vector<CommittedToken>> expected;
  std::vector<schedule::Request> requests;
  std::uint64_t epoch = 1;
  for (std::uint32_t i = 0; i < 5; ++i) {
    schedule::Request request;
    request.prompt = RandomTokens(3 + 35 * i, 600, 200 + i);
    request.sampling = Drawn(70 + i);
    request.max_tokens = 2 + i;
    GuestHouse alone(cluster.get(),
                     {{.id = SequenceId(1),
                       .prompt = request.prompt,
                       .sampling = request.sampling,
                       .max_tokens = static_cast<std::size_t>(request.max_tokens)}});
    alone.RunAll();
    expected[SequenceId(i + 1)] = alone.tokens(SequenceId(1));
    requests.push_back(request);
    ASSERT_TRUE(cluster->Reform(Epoch(++epoch), Soon()).ok());
  }
  for (const std::int32_t depth : {1, 2}) {
    schedule::SchedulerOptions options;
    options.kv_blocks = 4;
    options.running_max = 3;
    options.step_rows_max = 100;
    options.context_tokens_max = 512;
    options.plans_in_flight_max = depth;
    options.epoch = Epoch(epoch);
    auto scheduler = schedule::Scheduler::Create(options).value();
    for (const schedule::Request& request : requests) {
      ASSERT_TRUE(scheduler.Admit(request, Time()).ok());
    }
    std::map<SequenceId, std::vector<CommittedToken>> tokens;
    while (scheduler.HasWork() || scheduler.Stats().plans_in_flight > 0) {
      while (scheduler.HasWork()) {
        ASSERT_TRUE(cluster->Submit(scheduler.Plan(Time())).ok());
      }
      const auto result = cluster->Collect(Soon());
      ASSERT_TRUE(result.ok()) << result.status().message();
      const auto events = scheduler.Absorb(*result);
      ASSERT_TRUE(events.ok()) << events.status().message();
      for (const schedule::TokenEvent& event : *events) {
        auto& all = tokens[event.sequence];
        all.insert(all.end(), event.tokens.begin(), event.tokens.end());
      }
    }
    EXPECT_EQ(tokens, expected) << "with " << depth << " plans in flight";
    ASSERT_TRUE(cluster->Reform(Epoch(++epoch), Soon()).ok());
  }
}

// The top bit of one index key's scale, in a layer that must choose among its entries.
void FlipABitOfKey(int key, Executor* executor) {
  const kernels::CacheLayout& layout = executor->model().cache_layout();
  const std::span<std::byte> block = executor->pool().block(executor->blocks_of(kHero)[0]);
  for (const kernels::LayerCacheLayout& layer : layout.layers) {
    if (layer.ratio == kernels::kOverlapRatio) {
      const std::int64_t end = layer.keys_offset + std::int64_t{layout.key_bytes} * (key + 1);
      block[static_cast<std::size_t>(end - 1)] ^= std::byte{0x80};
      return;
    }
  }
}

// A choice among entries is each rank's own: a flip that changes it is seen, one that changes
// nothing is harmless. (Sums are shared: what one rank adds to them wrongly, all have alike.)
class WithChoices : public Checkpoint {};

TEST_P(WithChoices, AFlippedBitOfOneRankIsReportedAndNothingIsSaid) {
  const auto cluster = MakeCluster(folder_, 2, 1);
  Guest hero = Hero(1 << 20);
  hero.max_tokens = 30;
  GuestHouse sound(cluster.get(), {hero});
  sound.RunAll();
  ASSERT_TRUE(cluster->Reform(Epoch(2), Soon()).ok());
  GuestHouse house(cluster.get(), {hero});
  ASSERT_TRUE(house.Step(house.Plan()).ok());
  // Another key for each step, until one matters.
  absl::Status reported;
  std::size_t said = 1;
  for (int key = 0; reported.ok() && !house.done(); ++key) {
    said = house.tokens(kHero).size();
    FlipABitOfKey(key, &cluster->executor(Rank(1)));
    reported = house.Step(house.Plan()).status();
    if (reported.ok()) {
      FlipABitOfKey(key, &cluster->executor(Rank(1)));
    }
  }
  EXPECT_EQ(reported.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(reported.message()),
              HasSubstr("ranks disagree on step " + std::to_string(said + 1)));
  EXPECT_THAT(std::string(reported.message()), HasSubstr("on rank 1"));
  // The step's token did not come out, and all before it are right.
  ASSERT_EQ(house.tokens(kHero).size(), said);
  EXPECT_TRUE(std::equal(
      house.tokens(kHero).begin(), house.tokens(kHero).end(), sound.tokens(kHero).begin()));
  EXPECT_EQ(cluster->Submit(house.Plan()).code(), absl::StatusCode::kDataLoss);

  ASSERT_TRUE(cluster->Reform(Epoch(3), Soon()).ok());
  hero.max_tokens = said + 1;
  GuestHouse again(cluster.get(), {hero});
  again.RunAll();
  EXPECT_TRUE(std::equal(
      again.tokens(kHero).begin(), again.tokens(kHero).end(), sound.tokens(kHero).begin()));
}

// A latent that one rank stores wrongly makes all ranks' sums alike wrong; the block's turn in the
// digest shows it.
class OnTwoRanks : public Checkpoint {};

TEST_P(OnTwoRanks, AFlippedBitOfAFullBlockIsReportedInItsTurn) {
  const auto cluster = MakeCluster(folder_, ranks(), 1);
  Guest hero = Hero(1 << 20);
  hero.prompt.resize(2 * kernels::kKvBlockTokens + 3, hero.prompt.front());
  hero.max_tokens = 30;
  GuestHouse house(cluster.get(), {hero});
  ASSERT_TRUE(house.Step(house.Plan()).ok());
  Executor& executor = cluster->executor(Rank(1));
  executor.pool().block(executor.blocks_of(kHero)[1])[5] ^= std::byte{4};
  absl::Status reported = house.Step(house.Plan()).status();
  if (reported.ok()) {  // it was the other block's turn
    reported = house.Step(house.Plan()).status();
  }
  EXPECT_EQ(reported.code(), absl::StatusCode::kDataLoss) << reported;
}

std::string NameOf(const ::testing::TestParamInfo<std::pair<const char*, int>>& tested) {
  const bool demo = tested.param.first == std::string("demo");
  return std::string(demo ? "demo" : "model_a") + "_on_" + std::to_string(tested.param.second);
}

constexpr std::pair<const char*, int> kModelAOnOne{"model-a", 1};
constexpr std::pair<const char*, int> kModelAOnTwo{"model-a", 2};
constexpr std::pair<const char*, int> kDemoOnOne{"demo", 1};
constexpr std::pair<const char*, int> kDemoOnTwo{"demo", 2};

INSTANTIATE_TEST_SUITE_P(Models,
                         Checkpoint,
                         ::testing::Values(kModelAOnOne, kModelAOnTwo, kDemoOnOne, kDemoOnTwo),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Models, OnOneRank, ::testing::Values(kModelAOnOne, kDemoOnOne), NameOf);
// Two ranks, and an indexer that must choose.
INSTANTIATE_TEST_SUITE_P(Models,
                         OnTwoRanks,
                         ::testing::Values(std::pair("model-a", 2), std::pair("demo", 2)),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Models, WithChoices, ::testing::Values(kModelAOnTwo), NameOf);

TEST(EmbeddedCluster, SaysWhatIsWrongAndGoesOnAfterReform) {
  const auto cluster = MakeCluster("deploy/demo/model", 2, 1);
  const ClusterShape shape = cluster->Shape();
  EXPECT_EQ(shape.ranks, 2);
  EXPECT_EQ(shape.vocabulary, 1024);
  EXPECT_EQ(shape.memory.size(), 2u);
  EXPECT_GT(shape.memory[1].kv_bytes, 0);
  EXPECT_EQ(cluster->Collect(Soon()).status().code(), absl::StatusCode::kFailedPrecondition);
  GuestHouse house(cluster.get(), {Hero(64)});
  StepPlan plan = house.Plan();
  plan.step = Step(2);
  ASSERT_TRUE(cluster->Submit(plan).ok());
  EXPECT_THAT(std::string(cluster->Collect(Soon()).status().message()), HasSubstr("step 2"));
  EXPECT_FALSE(cluster->Submit(plan).ok());
  EXPECT_EQ(cluster->Reform(Epoch(1), Soon()).code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(cluster->Reform(Epoch(9), Soon()).ok());
  EXPECT_EQ(cluster->Shape().epoch, Epoch(9));
  plan.step = Step(1);
  plan.epoch = Epoch(9);
  ASSERT_TRUE(cluster->Submit(plan).ok());
  // A deadline that is over takes nothing away.
  const auto early = cluster->Collect(Time::min());
  EXPECT_TRUE(early.ok() || early.status().code() == absl::StatusCode::kDeadlineExceeded);
  if (!early.ok()) {
    EXPECT_TRUE(cluster->Collect(Soon()).ok());
  }
}

TEST(EmbeddedCluster, ReformTakesPlansInFlightAway) {
  const auto cluster = MakeCluster("deploy/demo/model", 2, 1);
  for (std::uint64_t epoch = 1; epoch < 6; ++epoch) {
    GuestHouse house(cluster.get(), {Hero(1 << 20)});
    ASSERT_TRUE(cluster->Submit(house.Plan()).ok());
    ASSERT_TRUE(cluster->Reform(Epoch(epoch + 1), Soon()).ok());
  }
  GuestHouse house(cluster.get(), {Hero(1 << 20)});
  house.RunAll();
  EXPECT_EQ(house.tokens(kHero).size(), 5u);
}

TEST(EmbeddedCluster, ARankThatCannotLoadIsAnError) {
  EmbeddedClusterOptions options;
  options.ranks = 2;
  options.executor = {.kv_blocks = 1, .sequences_max = 1, .step_rows_max = 1};
  const auto load = LoaderOf("deploy/demo/model", 2, {});
  options.load =
      [&](Rank rank,
          collective::Communicator* communicator) -> absl::StatusOr<std::unique_ptr<model::Model>> {
    if (rank == Rank(1)) {
      return absl::NotFoundError("no such checkpoint");
    }
    return load(rank, communicator);
  };
  EXPECT_EQ(EmbeddedCluster::Create(options, Soon()).status().message(), "no such checkpoint");
  options.ranks = 65;
  EXPECT_THAT(std::string(EmbeddedCluster::Create(options, Soon()).status().message()),
              HasSubstr("ranks is 65"));
}

TEST(AgreeResults, NamesTheRanksAndTheStep) {
  std::vector<StepResult> results(3);
  for (std::int32_t rank = 0; rank < 3; ++rank) {
    StepResult& result = results[static_cast<std::size_t>(rank)];
    result.epoch = Epoch(4);
    result.step = Step(17);
    result.rank = Rank(rank);
    result.digest = 0xABC;
    result.times = {.forward_ns = 10 * rank,
                    .exchange_ns = 5,
                    .sample_ns = 9 - rank,
                    .draft_ns = 2 * rank,
                    .total_ns = 1};
  }
  const auto agreed = AgreeResults(results);
  ASSERT_TRUE(agreed.ok());
  EXPECT_EQ(agreed->times, (StepTimes{20, 5, 9, 4, 1}));
  results[1].digest = 0xDEF;
  EXPECT_EQ(AgreeResults(results).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(AgreeResults(results).status().message()),
              HasSubstr("step 17 of epoch 4: digest 0000000000000abc on rank 0, 2; "
                        "0000000000000def on rank 1"));
  results[1].step = Step(18);
  EXPECT_EQ(AgreeResults(results).status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(AgreeResults(results).status().message()),
              HasSubstr("expected rank 1's result of epoch 4 step 17"));
  std::swap(results[0], results[2]);
  EXPECT_EQ(AgreeResults(results).status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(AgreeResults({}).status().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace sparkspan::engine::runtime
