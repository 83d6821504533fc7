#include "head/api/answer.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace sparkspan::head::api {

Answer::Answer(std::unique_ptr<OutputReader> reader, AnswerOptions options)
    : reader_(std::move(reader)),
      options_(std::move(options)),
      matcher_(options_.stop, options_.include_stop_text) {
  usage_.prompt_tokens = options_.prompt_tokens;
}

std::vector<AnswerSegment> Answer::Absorb(const GenerationEvent& event) {
  std::vector<AnswerSegment> segments;
  if (ended()) {
    return segments;
  }
  const std::size_t before = tokens_.size();
  usage_.rejected_draft_tokens += std::max(0, event.drafted - event.accepted);
  for (const engine::runtime::CommittedToken& token : event.tokens) {
    if (ended()) {
      break;
    }
    tokens_.push_back(token);
    unsent_tokens_.push_back(token);
    AbsorbPieces(reader_->Push(token.token), &segments);
  }
  // Accepted drafts come first; those behind the end of the text are nobody's.
  usage_.accepted_draft_tokens +=
      std::min<std::int64_t>(event.accepted, static_cast<std::int64_t>(tokens_.size() - before));
  if (event.finish.has_value() && !ended()) {
    End(*event.finish, &segments);
  }
  if (!unsent_tokens_.empty() && !segments.empty()) {
    std::vector<engine::runtime::CommittedToken>& last = segments.back().tokens;
    std::move(unsent_tokens_.begin(), unsent_tokens_.end(), std::back_inserter(last));
  } else if (!unsent_tokens_.empty()) {
    segments.push_back({.piece = {}, .tokens = std::move(unsent_tokens_)});
  }
  unsent_tokens_.clear();
  return segments;
}

Usage Answer::usage() const {
  Usage usage = usage_;
  usage.completion_tokens = static_cast<std::int64_t>(tokens_.size());
  usage.reasoning_tokens = reader_->reasoning_tokens();
  return usage;
}

void Answer::AbsorbPieces(std::vector<OutputPiece> pieces, std::vector<AnswerSegment>* segments) {
  const bool may_stop = static_cast<std::int64_t>(tokens_.size()) >= options_.min_tokens;
  for (OutputPiece& piece : pieces) {
    if (ended()) {
      return;
    }
    if (piece.kind == OutputPiece::Kind::kReasoningAsContent) {
      reasoning_.clear();
      piece.kind = OutputPiece::Kind::kContent;
    }
    if (piece.kind != OutputPiece::Kind::kContent) {
      EmitContent(matcher_.Flush(), segments);
      Emit(std::move(piece), segments);
    } else if (!may_stop) {
      EmitContent(matcher_.Flush() + piece.text, segments);
    } else {
      EmitContent(matcher_.Push(piece.text), segments);
      if (matcher_.match().has_value()) {
        ended_early_ = true;
        finish_reason_ = "stop";
      }
    }
  }
}

void Answer::EmitContent(std::string text, std::vector<AnswerSegment>* segments) {
  if (!text.empty()) {
    Emit({.kind = OutputPiece::Kind::kContent, .text = std::move(text), .call = 0, .id = ""},
         segments);
  }
}

void Answer::Emit(OutputPiece piece, std::vector<AnswerSegment>* segments) {
  using Kind = OutputPiece::Kind;
  // Without parallel calls the answer is over once the first call is whole.
  if (!options_.parallel_tool_calls && piece.call > 0) {
    return;
  }
  switch (piece.kind) {
    case Kind::kReasoning:
      reasoning_ += piece.text;
      break;
    case Kind::kContent:
    case Kind::kReasoningAsContent:
      content_ += piece.text;
      break;
    case Kind::kCallBegin:
      calls_.push_back({.id = piece.id, .name = piece.text, .arguments = "", .complete = false});
      break;
    case Kind::kCallArguments:
      calls_.back().arguments += piece.text;
      break;
    case Kind::kCallEnd:
      calls_.back().complete = true;
      if (!options_.parallel_tool_calls) {
        ended_early_ = true;
        finish_reason_ = "tool_calls";
      }
      return;
  }
  const bool joins = !segments->empty() && segments->back().piece.kind == piece.kind &&
                     segments->back().piece.call == piece.call && piece.kind != Kind::kCallBegin;
  if (joins) {
    segments->back().piece.text += piece.text;
  } else {
    segments->push_back({.piece = std::move(piece), .tokens = {}});
  }
  std::move(
      unsent_tokens_.begin(), unsent_tokens_.end(), std::back_inserter(segments->back().tokens));
  unsent_tokens_.clear();
}

void Answer::End(const GenerationFinish& finish, std::vector<AnswerSegment>* segments) {
  usage_.cached_tokens = finish.cached_tokens;
  if (finish.reason == FinishReason::kError) {
    error_ = finish.error;
    return;
  }
  const bool cut = finish.reason == FinishReason::kLength;
  AbsorbPieces(reader_->Finish(cut), segments);
  if (ended()) {
    return;
  }
  EmitContent(matcher_.Flush(), segments);
  if (!cut) {
    stop_token_ = finish.token;
  }
  finish_reason_ = cut ? "length" : HasCompleteCall() ? "tool_calls" : "stop";
}

bool Answer::HasCompleteCall() const {
  return std::any_of(
      calls_.begin(), calls_.end(), [](const AnsweredCall& call) { return call.complete; });
}

Usage UsageOfAll(std::span<const Answer* const> answers, std::int32_t n) {
  Usage whole;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const Usage usage = answers[i]->usage();
    if (i % static_cast<std::size_t>(n) == 0) {
      whole.prompt_tokens += usage.prompt_tokens;
      whole.cached_tokens += usage.cached_tokens;
    }
    whole.completion_tokens += usage.completion_tokens;
    whole.reasoning_tokens += usage.reasoning_tokens;
    whole.accepted_draft_tokens += usage.accepted_draft_tokens;
    whole.rejected_draft_tokens += usage.rejected_draft_tokens;
  }
  return whole;
}

}  // namespace sparkspan::head::api
