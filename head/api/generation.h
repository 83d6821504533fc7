#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/fabric/link_facts.h"
#include "engine/runtime/plan.h"

// The seam between the API (which turns bytes into prompts and tokens into answers) and the engine
// loop (which plans steps). Requests and events cross it by value.
namespace sparkspan::head::api {

// One prompt to be continued. Everything in it is validated: token ids lie in the vocabulary,
// prompt.size() + max_tokens <= the context length, max_tokens >= 1.
struct GenerationRequest {
  std::vector<engine::Token> prompt;
  engine::runtime::SamplingParams sampling;
  std::int64_t max_tokens = 1;  // Generated tokens, the one that ends the answer included.
  // Any of these ends the generation with FinishReason::kStop, once sampling.min_tokens have been
  // generated. Empty with ignore_eos.
  std::vector<engine::Token> eos_token_ids;
  std::vector<engine::Token> stop_token_ids;
  std::int32_t priority = 0;  // Lower first, if the planner has priorities.
  bool reuse_prefix_cache = true;
  std::string cache_salt;  // Prefixes are shared only between equal salts.
  engine::Time arrival;    // When the head had read the request.
};

enum class FinishReason {
  kStop,    // an EOS or stop token
  kLength,  // max_tokens
  kError,   // see GenerationFinish::error
};

// The end of a generation, sent exactly once, unless the stream was cancelled.
struct GenerationFinish {
  FinishReason reason = FinishReason::kStop;
  // The EOS or stop token that ended it; it is also the last token of the event.
  std::optional<engine::Token> token;
  absl::Status error;              // Not OK only with kError. Its message may reach the client.
  std::int64_t cached_tokens = 0;  // Prompt tokens taken from the prefix cache.
};

// What one step did for one request. Tokens come in order, each exactly once.
struct GenerationEvent {
  std::vector<engine::runtime::CommittedToken> tokens;
  std::int32_t drafted = 0;   // Draft tokens verified in this step.
  std::int32_t accepted = 0;  // Of those, committed.
  engine::Time time;          // When the engine loop had the result.
  std::optional<GenerationFinish> finish;
};

// What a reader of several streams waits on. Thread-safe.
class StreamWaker {
 public:
  void Wake();

  // Until a Wake() that no earlier Wait() returned for, or `deadline`.
  void Wait(engine::Time deadline);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;
};

// The outbox of one request: the engine thread pushes, one thread of the API pops. Bounded; an
// engine never waits for a reader. Thread-safe.
class GenerationStream {
 public:
  static constexpr std::size_t kBytesMaxDefault = std::size_t{8} << 20;

  explicit GenerationStream(std::size_t bytes_max = kBytesMaxDefault) : bytes_max_(bytes_max) {}

  // ---- Engine side. ----

  // False when the stream is cancelled, or has just been because the reader is too slow; the event
  // is then dropped and the engine must release the sequence. Nothing may follow an event with
  // `finish`.
  bool Push(GenerationEvent event);

  // Call once, when the request leaves the queue and its first prefill row is planned.
  void MarkScheduled(engine::Time now);

  // The engine polls this before every step, also for requests that still wait, and at least every
  // 50 ms while it has any request.
  bool cancelled() const;

  // ---- API side. ----

  // The next event, waiting for it until `deadline`. Empty at the deadline, or when the stream
  // is cancelled or its finish has been popped: ask done().
  std::optional<GenerationEvent> Pop(engine::Time deadline);

  // From now on what ends a wait in Pop() wakes `waker` too. Call at most once, then Pop() what
  // came before.
  void Attach(std::shared_ptr<StreamWaker> waker);

  // Nothing more will come.
  bool done() const;

  // The client is gone or has enough. Idempotent.
  void Cancel();

  // True when Push() cancelled the stream because more than bytes_max waited to be popped.
  bool overflowed() const;

  // When MarkScheduled() was called; empty while queued.
  std::optional<engine::Time> scheduled() const;

 private:
  void NotifyReader();

  const std::size_t bytes_max_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<GenerationEvent> events_;
  std::size_t bytes_ = 0;
  bool cancelled_ = false;
  bool overflowed_ = false;
  bool finish_pushed_ = false;
  std::optional<engine::Time> scheduled_;
  std::shared_ptr<StreamWaker> waker_;
};

enum class EngineState {
  kStarting,  // ranks connect and load weights
  kReady,
  kDegraded,  // a rank is lost; the cluster is being formed again
  kDraining,  // running requests finish, no new ones: what the API makes of kReady when it stops
  kFailed,    // will not come back without a restart
};

std::string_view EngineStateName(EngineState state);

// A connection of a rank, as it was proven to lie after it was made.
struct RailStatus {
  std::string plane;  // "control": the head's to the rank; "data": the rank's to another
  std::string peer;   // "head", "rank 1"
  std::string interface;
  std::string local_address;
  std::string binding;  // "device", "source address", "same machine"
  // On it, transport headers excluded. Of a control connection since the head started, of a data
  // connection since its group was formed.
  std::uint64_t sent_bytes = 0;
  std::uint64_t received_bytes = 0;
};

// An interface that cluster.yaml declares, as its own machine counts it: everything that crosses
// it since it was made, whoever sent it.
struct InterfaceStatus {
  std::string name;
  std::string address;
  std::int32_t index = 0;  // the kernel's; 0: there is no such interface
  bool control = false;    // the planes that it is declared for
  bool data = false;
  std::string fault;       // why it is not as declared; empty while it is
  std::string path_fault;  // what is wrong with the routes by it or with its MTU; it serves
  std::string net;         // what carries exchanges over it: "TCP"; empty where none go
  engine::fabric::LinkFacts link;
  std::uint64_t sent_bytes = 0;
  std::uint64_t received_bytes = 0;
  std::uint64_t errors = 0;
  std::uint64_t dropped = 0;
  std::uint64_t rdma_sent_bytes = 0;
  std::uint64_t rdma_received_bytes = 0;
  double sent_bytes_per_second = 0;  // RDMA included; over the last second or so
  double received_bytes_per_second = 0;
};

struct RankStatus {
  std::int32_t rank = 0;
  std::string node;
  std::string address;
  std::string device;  // "cpu", "cuda:0 NVIDIA GB10", ...
  // "connecting", "loading", "loaded"; "ready", or "slow" while the others wait for it; and once an
  // epoch is over "lost" (gone or silent), "failed" (it said so itself) or "waiting" (for the group
  // to form again).
  std::string state;
  std::string detail;              // Why, in one sentence; empty when all is well.
  std::string position;            // In the present step; empty outside an epoch.
  double clock_ahead_seconds = 0;  // Of its machine, against the head's.
  double heard_seconds_ago = 0;    // Since its last sign of life in this epoch.
  std::int64_t weights_bytes = 0;
  std::int64_t kv_bytes = 0;
  std::int64_t resident_bytes = 0;
  std::int64_t memory_available_bytes = 0;  // On its machine, as it last told; 0: not known.
  std::string memory_shortage;              // In words; empty while there is enough.
  std::vector<RailStatus> rails;            // of the epoch in force: control first
  std::vector<InterfaceStatus> interfaces;  // of its machine; as it last told
};

// An error of the head or of its cluster.
struct ErrorStatus {
  std::int64_t unix_seconds = 0;  // when it last happened
  std::string what;
  std::int64_t times = 1;  // in a row
};

// What the doctor found to warn of (docs/doctor.md).
struct FindingStatus {
  std::string id;
  std::string outcome;  // "warning" or "failure"
  std::string subject;
  std::string found;
  std::string expected;
  std::string next_step;
};

// Why the newest epoch that was lost was lost, and what the head's node looked like then.
struct FailureStatus {
  std::int64_t unix_seconds = 0;
  std::uint64_t epoch = 0;
  std::string reason;
  std::string examination;  // of which node, or that it is still going on
  std::vector<FindingStatus> findings;
};

// Where start-up spent its time. An unfinished phase has `done` false and its time so far.
struct StartUpPhase {
  std::string name;
  double seconds = 0;
  bool done = false;
};

// Tokens per engine step, as a histogram with vLLM's bounds.
struct StepTokens {
  static constexpr std::array<std::int64_t, 13> kBounds = {
      1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
  std::array<std::uint64_t, kBounds.size() + 1> counts{};  // Not cumulative; the last is +Inf.
  std::uint64_t sum = 0;

  void Observe(std::int64_t tokens);
};

// Drafts at one position of the block. `predicted` is the sum of the chances that the drafter gave
// the verified ones: far from `accepted`, its confidence is off.
struct DraftPosition {
  std::uint64_t verified = 0;
  std::uint64_t accepted = 0;
  double predicted = 0;
};

// What deciding about a request takes.
struct EngineReadiness {
  EngineState state = EngineState::kStarting;
  // Why the state is not kReady, in one sentence. May name nodes and addresses.
  std::string detail;
  // Prompt and answer of one request at most, which the KV pool may make less than the context
  // length of the configuration. 0 until the first group has formed.
  std::int64_t request_tokens_max = 0;
  std::int64_t running_max = 0;
  std::int64_t waiting_max = 0;
  // When a refused client should come back; an estimate from the queue, 1..60.
  std::int32_t retry_after_seconds = 5;
};

// A consistent picture of the engine. Counters only grow.
struct EngineStatus : EngineReadiness {
  // Why request_tokens_max is less than the configuration says; empty where it is not.
  std::string context_cut;
  std::int64_t running = 0;
  std::int64_t waiting = 0;
  std::int64_t kv_blocks_total = 0;  // Blocks of kv_block_tokens tokens.
  std::int64_t kv_blocks_used = 0;
  std::int64_t kv_block_tokens = 256;
  double generation_tokens_per_second = 0;  // Over the last few seconds.

  std::uint64_t epoch = 0;
  std::uint64_t steps_total = 0;
  std::uint64_t prompt_tokens_total = 0;  // Prefilled, cached ones excluded.
  std::uint64_t generation_tokens_total = 0;
  std::uint64_t preemptions_total = 0;
  std::uint64_t prefix_queries_total = 0;  // Prompt tokens looked up in the prefix cache.
  std::uint64_t prefix_hits_total = 0;
  std::uint64_t drafts_total = 0;  // Draft rounds.
  std::uint64_t draft_tokens_total = 0;
  std::uint64_t accepted_tokens_total = 0;
  // Tokens a round with drafts gave on average, the target's own among them; 1 before any.
  double acceptance_length() const {
    return drafts_total == 0 ? 1.0
                             : 1.0 + static_cast<double>(accepted_tokens_total) /
                                         static_cast<double>(drafts_total);
  }
  std::vector<DraftPosition> drafts_by_position;  // one for each position of a block
  StepTokens step_tokens;

  std::string numerics;      // "quantised" or "unquantised"
  std::string draft_mode;    // "none", "dspark" or "mtp"
  std::string verification;  // "none", "fixed", "threshold" or "hardware"
  // Why the drafter looks broken, in one sentence; empty while it does not.
  std::string draft_alarm;
  std::vector<RankStatus> ranks;
  std::string head_node;  // its name in cluster.yaml
  std::vector<InterfaceStatus> head_interfaces;
  std::optional<FailureStatus> last_failure;
  std::vector<ErrorStatus> errors;  // newest first, bounded
  std::vector<StartUpPhase> phases;
};

// What the API needs from an engine. Thread-safe. No call waits for a step.
class Generator {
 public:
  virtual ~Generator() = default;

  // Queues a request. Errors: ResourceExhausted (the queue is full: 429), Unavailable (loading,
  // draining or failed: 503), InvalidArgument (can never run, for example more KV blocks than there
  // are: 400).
  virtual absl::StatusOr<std::shared_ptr<GenerationStream>> Submit(GenerationRequest request) = 0;

  // Cheap: asked for with every request.
  virtual EngineReadiness Readiness() const = 0;
  // Samples interfaces and copies what all ranks told.
  virtual EngineStatus Status() const = 0;

  // Drops cached prefixes that no request uses.
  virtual void FlushPrefixCache() = 0;
};

}  // namespace sparkspan::head::api
