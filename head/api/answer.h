#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/runtime/plan.h"
#include "head/api/generation.h"
#include "head/api/request.h"
#include "head/api/stop_matcher.h"
#include "head/api/text_codec.h"

namespace sparkspan::head::api {

// Text of one kind and the tokens it came with. A token whose text is held back comes with the
// next segment; the last one of an event may have tokens only.
struct AnswerSegment {
  OutputPiece piece;
  std::vector<engine::runtime::CommittedToken> tokens;
};

struct AnsweredCall {
  std::string id;
  std::string name;
  std::string arguments;
  bool complete = false;
};

struct Usage {
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  std::int64_t cached_tokens = 0;
  std::int64_t reasoning_tokens = 0;
  std::int64_t accepted_draft_tokens = 0;
  std::int64_t rejected_draft_tokens = 0;
};

struct AnswerOptions {
  std::int32_t choice = 0;  // Its index among the answers of one request.
  std::int64_t prompt_tokens = 0;
  std::vector<std::string> stop;
  bool include_stop_text = false;
  std::int64_t min_tokens = 0;  // Stop strings do not count before.
  bool parallel_tool_calls = true;
};

// One answer as it grows: tokens in, segments out, totals kept. Where the answer's text ends by a
// stop string, the rest of the tokens is ignored and the generation is to be cancelled. One thread.
class Answer {
 public:
  Answer(std::unique_ptr<OutputReader> reader, AnswerOptions options);

  // What the event adds. Nothing after the answer has ended.
  std::vector<AnswerSegment> Absorb(const GenerationEvent& event);

  std::int32_t choice() const { return options_.choice; }
  // "stop", "length" or "tool_calls" once the answer has ended well.
  const std::optional<std::string>& finish_reason() const { return finish_reason_; }
  // The stop string or the stop token that ended it; both empty for EOS and limits.
  const std::optional<std::string>& stop_text() const { return matcher_.match(); }
  const std::optional<engine::Token>& stop_token() const { return stop_token_; }
  // It ended before the engine knew: cancel the generation.
  bool ended_early() const { return ended_early_; }
  // The engine gave up; its reason.
  const absl::Status& error() const { return error_; }
  bool ended() const { return finish_reason_.has_value() || !error_.ok(); }

  const std::string& content() const { return content_; }
  const std::string& reasoning() const { return reasoning_; }
  const std::vector<AnsweredCall>& calls() const { return calls_; }  // Complete ones and the last.
  const std::vector<engine::runtime::CommittedToken>& tokens() const { return tokens_; }
  std::int64_t dropped_markup_bytes() const { return reader_->dropped_markup_bytes(); }
  Usage usage() const;

 private:
  void AbsorbPieces(std::vector<OutputPiece> pieces, std::vector<AnswerSegment>* segments);
  void Emit(OutputPiece piece, std::vector<AnswerSegment>* segments);
  void EmitContent(std::string text, std::vector<AnswerSegment>* segments);
  void End(const GenerationFinish& finish, std::vector<AnswerSegment>* segments);
  bool HasCompleteCall() const;

  std::unique_ptr<OutputReader> reader_;
  const AnswerOptions options_;
  StopMatcher matcher_;
  std::string content_;
  std::string reasoning_;
  std::vector<AnsweredCall> calls_;
  std::vector<engine::runtime::CommittedToken> tokens_;
  std::vector<engine::runtime::CommittedToken> unsent_tokens_;
  Usage usage_;
  std::optional<std::string> finish_reason_;
  std::optional<engine::Token> stop_token_;
  bool ended_early_ = false;
  absl::Status error_;
};

// Of all answers to one request, at least one: `n` in a row are of one prompt, which counts once.
Usage UsageOfAll(std::span<const Answer* const> answers, std::int32_t n);

}  // namespace sparkspan::head::api
