#pragma once

#include <atomic>
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

// Everything that belongs to one request being answered. The encoder refers to the others, so it is
// made last and the whole does not move.
struct SessionParts {
  std::optional<api::ChatRequest> chat;
  std::optional<api::CompletionRequest> completion;
  std::vector<engine::Token> prompt;
  std::int64_t max_tokens = 0;
  engine::Time arrival;
  std::unique_ptr<api::Answer> answer;
  std::unique_ptr<api::AnswerEncoder> encoder;
  std::shared_ptr<api::GenerationStream> stream;

  const api::CommonRequest& common() const { return chat ? chat->common : completion->common; }
};

// Takes a request from its admission to its answer's end. Destroyed early it cancels the
// generation: that is what a client that leaves comes to. One thread.
class Session {
 public:
  Session(std::unique_ptr<SessionParts> parts,
          const engine::Clock& clock,
          status::Metrics& metrics,
          const std::atomic<bool>& aborting);
  ~Session();

  // Waits for the next event until `deadline`; returns the JSON texts that a stream sends for it.
  std::vector<std::string> Pump(engine::Time deadline);
  // Nothing more will come; then failure() or the answer is final.
  bool ended() const { return ended_; }
  const std::optional<api::ApiError>& failure() const { return failure_; }

  std::vector<std::string> LastChunks() { return parts_->encoder->LastChunks(*parts_->answer); }
  std::string Whole() { return parts_->encoder->Whole(*parts_->answer); }

 private:
  void ObserveTokens(const api::GenerationEvent& event);
  void Fail(api::ApiError failure);
  void Record(const std::string& finished_reason);

  const std::unique_ptr<SessionParts> parts_;
  const engine::Clock& clock_;
  status::Metrics& metrics_;
  const std::atomic<bool>& aborting_;  // The server gives up what still runs.
  std::optional<engine::Time> first_token_;
  std::optional<engine::Time> last_token_;
  std::optional<api::ApiError> failure_;
  bool ended_ = false;
  bool recorded_ = false;
};

}  // namespace sparkspan::head::http
