#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/clock.h"
#include "head/api/answer.h"
#include "head/api/encoder.h"
#include "head/api/generation.h"
#include "head/api/request.h"
#include "head/status/metrics.h"

namespace sparkspan::head::http {

// One of the answers that a request asked for, and the generation that feeds it.
struct Choice {
  std::int64_t max_tokens = 0;
  std::unique_ptr<api::Answer> answer;
  std::shared_ptr<api::GenerationStream> stream;
  std::optional<engine::Time> first_token;
  std::optional<engine::Time> last_token;
  bool ended = false;
};

// Counts a request in flight for as long as it lives. `count` outlives it.
class InFlight {
 public:
  explicit InFlight(std::atomic<std::int64_t>* count) : count_(count) { ++*count_; }
  ~InFlight() { --*count_; }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;

 private:
  std::atomic<std::int64_t>* const count_;
};

// Everything that belongs to one request being answered. The encoder refers to the others, so it is
// made last and the whole does not move.
struct SessionParts {
  std::unique_ptr<InFlight> in_flight;
  std::string request_id;  // For the log; not necessarily unique.
  std::optional<api::ChatRequest> chat;
  std::optional<api::CompletionRequest> completion;
  std::vector<std::vector<engine::Token>> prompts;
  engine::runtime::ForcedTokens forced;
  std::uint64_t seed = 0;  // of each prompt's first choice
  engine::Time arrival;
  std::vector<Choice> choices;  // [prompts, n]
  std::unique_ptr<api::AnswerEncoder> encoder;

  const api::CommonRequest& common() const { return chat ? chat->common : completion->common; }
};

// Takes a request from its admission to the end of its answers. Destroyed early it cancels the
// generations: that is what a client that leaves comes to. One thread.
class Session {
 public:
  Session(std::unique_ptr<SessionParts> parts,
          const engine::Clock& clock,
          status::Metrics& metrics,
          const std::atomic<bool>& aborting);
  ~Session();

  // Waits for the next event until `deadline`; returns the JSON texts that a stream sends for what
  // came, the ends of answers included.
  std::vector<std::string> Pump(engine::Time deadline);
  // Nothing more will come; then failure() or all answers are final.
  bool ended() const { return ended_; }
  const std::optional<api::ApiError>& failure() const { return failure_; }

  // The JSON texts that end a stream: usage, when it was asked for.
  std::vector<std::string> LastChunks();
  std::string Whole() { return parts_->encoder->Whole(Answers()); }

 private:
  // Once all choices have ended.
  void RecordAll();
  // Takes what has come for each choice; whether there was anything.
  bool TakeEvents(std::vector<std::string>* chunks);
  void Take(const api::GenerationEvent& event, Choice* choice, std::vector<std::string>* chunks);
  void ObserveTokens(const api::GenerationEvent& event, Choice* choice);
  void End(Choice* choice, const std::string& finished_reason);
  // Cancels and records what has not ended.
  void EndAll(const std::string& finished_reason);
  void Fail(api::ApiError failure);
  void Record(const Choice& choice, const std::string& finished_reason);
  std::vector<const api::Answer*> Answers() const;

  const std::unique_ptr<SessionParts> parts_;
  const engine::Clock& clock_;
  status::Metrics& metrics_;
  const std::atomic<bool>& aborting_;  // The server gives up what still runs.
  const std::shared_ptr<api::StreamWaker> waker_;
  std::optional<api::ApiError> failure_;
  bool ended_ = false;
};

}  // namespace sparkspan::head::http
