#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "head/cluster/engine_loop.h"
#include "head/cluster/remote_cluster.h"
#include "proto/grpc/health/v1/health.grpc.pb.h"
#include "proto/sparkspan/v1/worker.grpc.pb.h"
#include "tests/integration/local_workers.h"
#include "worker/lifecycle.h"
#include "worker/service.h"

// Workers and the head's side of their streams in one process, over real sockets on loopback.
namespace sparkspan::tests {
namespace {

using engine::Rank;
using engine::config::ClusterConfig;
using ::testing::HasSubstr;

TEST(ClusterTest, RanksFormAGroupAndALaterEpochStartsAfresh) {
  const ClusterConfig config = MakeConfig(2);
  const Worker first = StartWorker(config, 0);
  const Worker second = StartWorker(config, 1);
  const auto cluster = MakeCluster(config);
  ASSERT_TRUE(cluster->Reform(engine::Epoch(5), Soon()).ok());
  EXPECT_EQ(cluster->Shape().kv_blocks, 8);
  EXPECT_EQ(cluster->Shape().epoch, engine::Epoch(5));
  const auto token = RunFirstStep(*cluster, engine::Epoch(5));
  ASSERT_TRUE(cluster->Watch().ok());
  ASSERT_TRUE(cluster->Reform(engine::Epoch(6), Soon()).ok());
  EXPECT_EQ(RunFirstStep(*cluster, engine::Epoch(6)), token);
  for (const head::api::RankStatus& rank : cluster->Ranks()) {
    EXPECT_EQ(rank.state, "ready");
    EXPECT_EQ(rank.position, "idle after step 1");
    EXPECT_LT(std::abs(rank.clock_ahead_seconds), 60) << "one machine has one clock";
    EXPECT_GT(rank.weights_bytes, 0);
  }
}

// A worker that comes up after the head is waited for; one that dies is named, and when it is back
// the other one has kept its weights.
TEST(ClusterTest, ADeadRankIsNamedAndRejoins) {
  const ClusterConfig config = MakeConfig(2);
  const Worker first = StartWorker(config, 0);
  const auto cluster = MakeCluster(config);
  std::uint64_t epoch = 0;
  const engine::Time soon = Soon();
  const auto has_tried = [&] {
    return cluster->Ranks()[1].detail.find("cannot connect to 127.0.0.1") != std::string::npos;
  };
  while (!has_tried() && std::chrono::steady_clock::now() < soon) {
    const absl::Status early = cluster->Reform(
        engine::Epoch(++epoch), std::chrono::steady_clock::now() + std::chrono::seconds(1));
    EXPECT_TRUE(absl::IsDeadlineExceeded(early)) << early;
  }
  EXPECT_EQ(cluster->Ranks()[1].state, "connecting");
  EXPECT_THAT(cluster->Ranks()[1].detail, HasSubstr("cannot connect to 127.0.0.1"));

  std::optional<Worker> second = StartWorker(config, 1);
  ASSERT_TRUE(cluster->Reform(engine::Epoch(++epoch), Soon()).ok());
  const auto token = RunFirstStep(*cluster, engine::Epoch(epoch));
  second.reset();
  absl::Status lost;
  while (lost.ok() && std::chrono::steady_clock::now() < Soon()) {
    lost = cluster->Watch();
  }
  EXPECT_TRUE(absl::IsUnavailable(lost)) << lost;
  EXPECT_THAT(std::string(lost.message()), HasSubstr("rank 1 (node local"));
  EXPECT_EQ(cluster->Ranks()[1].state, "lost");
  EXPECT_EQ(cluster->Submit(FirstPlan(engine::Epoch(epoch))).code(), lost.code());

  second = StartWorker(config, 1);
  ASSERT_TRUE(cluster->Reform(engine::Epoch(++epoch), Soon()).ok());
  EXPECT_EQ(RunFirstStep(*cluster, engine::Epoch(epoch)), token);
}

// As one whose clock is behind that of the head before it.
TEST(ClusterTest, AHeadOfAnOlderEpochLearnsWhichOneToPass) {
  const ClusterConfig config = MakeConfig(1);
  const Worker worker = StartWorker(config, 0);
  {
    const auto before = MakeCluster(config);
    ASSERT_TRUE(before->Reform(engine::Epoch(1'000), Soon()).ok());
  }
  const auto behind = MakeCluster(config);
  absl::Status stale;
  std::uint64_t epoch = 0;
  const engine::Time soon = Soon();
  // The worker may still be taking leave of the head before: then it names none.
  while (!absl::IsAborted(stale) && std::chrono::steady_clock::now() < soon) {
    stale = behind->Reform(engine::Epoch(++epoch),
                           std::chrono::steady_clock::now() + std::chrono::seconds(1));
    ASSERT_FALSE(stale.ok());
  }
  EXPECT_THAT(std::string(stale.message()), HasSubstr("has served epoch 1000"));
  EXPECT_EQ(behind->NewestEpoch(), engine::Epoch(1'000));
  ASSERT_TRUE(behind->Reform(engine::Epoch(1'001), Soon()).ok());
  EXPECT_TRUE(RunFirstStep(*behind, engine::Epoch(1'001)).has_value());
}

TEST(ClusterTest, AWorkerOfAnotherReleaseOrConfigurationRefuses) {
  const ClusterConfig config = MakeConfig(1);
  {
    const Worker other = StartWorker(config, 0, [](worker::ServiceOptions& options) {
      options.program_version = "other release";
    });
    const absl::Status status = MakeCluster(config)->Reform(engine::Epoch(1), Soon());
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("other release"));
  }
  ClusterConfig changed = config;
  changed.limits.sequences += 1;
  const Worker worker = StartWorker(config, 0);
  const absl::Status status = MakeCluster(changed)->Reform(engine::Epoch(1), Soon());
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("cluster.yaml has hash"));
}

// A plan that contradicts the worker's state ends the epoch with the worker's own words.
TEST(ClusterTest, AnImpossiblePlanEndsTheEpochWithTheReason) {
  const ClusterConfig config = MakeConfig(2);
  const Worker first = StartWorker(config, 0);
  const Worker second = StartWorker(config, 1);
  const auto cluster = MakeCluster(config);
  ASSERT_TRUE(cluster->Reform(engine::Epoch(1), Soon()).ok());
  engine::runtime::StepPlan plan = FirstPlan(engine::Epoch(1));
  plan.grants[0].blocks = {100};
  ASSERT_TRUE(cluster->Submit(plan).ok());
  const auto result = cluster->Collect(Soon());
  EXPECT_TRUE(absl::IsUnavailable(result.status())) << result.status();
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("100"));
  ASSERT_TRUE(cluster->Reform(engine::Epoch(2), Soon()).ok());
  EXPECT_TRUE(RunFirstStep(*cluster, engine::Epoch(2)).has_value());
}

// A newer head takes a worker over from an older one that still holds it.
TEST(ClusterTest, ANewerHeadTakesTheLeaseAndTheOlderOneIsTurnedAway) {
  const ClusterConfig config = MakeConfig(1);
  const Worker worker = StartWorker(config, 0);
  const auto older = MakeCluster(config);
  ASSERT_TRUE(older->Reform(engine::Epoch(10), Soon()).ok());
  const auto newer = MakeCluster(config);
  ASSERT_TRUE(newer->Reform(engine::Epoch(20), Soon()).ok());
  EXPECT_TRUE(RunFirstStep(*newer, engine::Epoch(20)).has_value());
  absl::Status lost;
  while (lost.ok() && std::chrono::steady_clock::now() < Soon()) {
    lost = older->Watch();
  }
  EXPECT_TRUE(absl::IsUnavailable(lost)) << lost;
  const absl::Status stale =
      older->Reform(engine::Epoch(11), std::chrono::steady_clock::now() + std::chrono::seconds(1));
  EXPECT_FALSE(stale.ok());
  EXPECT_EQ(older->NewestEpoch(), engine::Epoch(0)) << "it must not take the rank back";
  EXPECT_TRUE(newer->Watch().ok());
}

TEST(ClusterTest, TheEngineLoopServesOverRealWorkers) {
  const ClusterConfig config = MakeConfig(2);
  const Worker first = StartWorker(config, 0);
  std::optional<Worker> second = StartWorker(config, 1);
  const auto cluster = MakeCluster(config);
  const engine::SteadyClock clock;
  head::cluster::EngineLoopOptions options;
  options.scheduler.running_max = 2;
  options.scheduler.step_rows_max = 128;
  options.scheduler.context_tokens_max = 1024;
  options.first_epoch = engine::Epoch(1);
  head::cluster::EngineLoop loop(options, *cluster, clock);
  const auto generate = [&]() -> std::vector<engine::Token> {
    while (loop.Status().state != head::api::EngineState::kReady &&
           std::chrono::steady_clock::now() < Soon()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    head::api::GenerationRequest request;
    request.prompt = {10, 11, 12};
    request.sampling.temperature = 0;
    request.max_tokens = 20;
    const auto stream = loop.Submit(std::move(request));
    EXPECT_TRUE(stream.ok()) << stream.status();
    std::vector<engine::Token> tokens;
    while (const auto event = (*stream)->Pop(Soon())) {
      for (const auto& token : event->tokens) {
        tokens.push_back(token.token);
      }
    }
    return tokens;
  };
  const std::vector<engine::Token> tokens = generate();
  EXPECT_EQ(tokens.size(), 20u);
  second.reset();
  while (loop.Status().state == head::api::EngineState::kReady &&
         std::chrono::steady_clock::now() < Soon()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_THAT(loop.Status().detail, HasSubstr("rank 1"));
  second = StartWorker(config, 1);
  EXPECT_EQ(generate(), tokens);
  cluster->Stop();
}

// What a head that is none can do.
class StrangerTest : public ::testing::Test {
 protected:
  StrangerTest() : config_(MakeConfig(1)), worker_(StartWorker(config_, 0)) {
    channel_ = grpc::CreateChannel(
        absl::StrFormat("ipv4:127.0.0.1:%d", config_.nodes[0].ranks[0].control_port),
        grpc::InsecureChannelCredentials());
    stub_ = v1::Worker::NewStub(channel_);
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  }

  v1::Hello GoodHello() const {
    v1::Hello hello;
    hello.set_wire_version(engine::runtime::kWireVersion);
    hello.set_program_version(kVersion);
    hello.set_epoch(7);
    hello.set_config_hash(Hash(config_));
    return hello;
  }

  // The worker's answer to a hello.
  v1::WorkerMessage Greet(const v1::Hello& hello) {
    stream_ = stub_->Serve(&context_);
    v1::HeadMessage message;
    *message.mutable_hello() = hello;
    stream_->Write(message);
    v1::WorkerMessage answer;
    EXPECT_TRUE(stream_->Read(&answer));
    return answer;
  }

  const ClusterConfig config_;
  const Worker worker_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Worker::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::HeadMessage, v1::WorkerMessage>> stream_;
};

TEST_F(StrangerTest, AHelloIsAnsweredWithTheIdentity) {
  const v1::WorkerMessage answer = Greet(GoodHello());
  ASSERT_TRUE(answer.has_identity());
  EXPECT_EQ(answer.identity().config_hash(), Hash(config_));
  EXPECT_NE(answer.identity().checkpoint_hash(), 0u);
}

TEST_F(StrangerTest, AnotherWireVersionIsRefusedWithBothNumbers) {
  v1::Hello hello = GoodHello();
  hello.set_wire_version(99);
  const v1::WorkerMessage answer = Greet(hello);
  ASSERT_TRUE(answer.has_failure());
  EXPECT_TRUE(answer.failure().refused());
  EXPECT_THAT(answer.failure().message(), HasSubstr("wire version 99"));
}

TEST_F(StrangerTest, AnotherRankIsRefused) {
  v1::Hello hello = GoodHello();
  hello.set_rank(3);
  const v1::WorkerMessage answer = Greet(hello);
  ASSERT_TRUE(answer.has_failure());
  EXPECT_THAT(answer.failure().message(), HasSubstr("asked for rank 3"));
}

TEST_F(StrangerTest, AStreamWithoutAHelloIsAnError) {
  stream_ = stub_->Serve(&context_);
  stream_->Write(v1::HeadMessage());
  v1::WorkerMessage answer;
  EXPECT_FALSE(stream_->Read(&answer));
  EXPECT_EQ(stream_->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

// SERVING once the weights are there, for the server and for the service by name.
TEST_F(StrangerTest, HealthSaysWhenTheWeightsAreResident) {
  ASSERT_TRUE(worker_.lifecycle->WaitForLoading(Soon()).loaded);
  const auto health = grpc::health::v1::Health::NewStub(channel_);
  for (const char* service : {"", "sparkspan.v1.Worker"}) {
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    grpc::health::v1::HealthCheckResponse response;
    while (response.status() != grpc::health::v1::HealthCheckResponse::SERVING &&
           std::chrono::steady_clock::now() < Soon()) {
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
      ASSERT_TRUE(health->Check(&context, request, &response).ok());
    }
    EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::SERVING);
  }
}

TEST(SourceTest, AHeadFromAnotherAddressIsRefused) {
  const ClusterConfig config = MakeConfig(1);
  const auto lifecycle = worker::Lifecycle::Start(config, Rank(0));
  ASSERT_TRUE(lifecycle.ok()) << lifecycle.status();
  worker::ServiceOptions options;
  options.address = "127.0.0.1";
  options.head_address = "192.168.177.1";
  options.program_version = kVersion;
  const auto service = worker::Service::Start(options, **lifecycle);
  ASSERT_TRUE(service.ok()) << service.status();
  const auto channel = grpc::CreateChannel(absl::StrFormat("ipv4:127.0.0.1:%d", (*service)->port()),
                                           grpc::InsecureChannelCredentials());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  const auto stream = v1::Worker::NewStub(channel)->Serve(&context);
  v1::WorkerMessage answer;
  EXPECT_FALSE(stream->Read(&answer));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(status.error_message(), HasSubstr("192.168.177.1"));
}

}  // namespace
}  // namespace sparkspan::tests
