#include "engine/text/markup_parser.h"

#include <algorithm>
#include <utility>

#include "engine/text/control_text.h"
#include "engine/text/white_space.h"

namespace sparkspan::engine::text {
namespace {

constexpr std::size_t kSeparatorNewlines = 2;

constexpr TagSet kTagsOfReasoning = Only(Tag::Kind::kBlock);
// What ends a value. A call that begins inside one is text of the value.
constexpr TagSet kTagsOfValue = Only(Tag::Kind::kParameterEnd) | Only(Tag::Kind::kParameter) |
                                Only(Tag::Kind::kInvokeEnd) | Only(Tag::Kind::kBlockEnd);

}  // namespace

MarkupParser::MarkupParser(bool in_reasoning, OfferedTools tools)
    : tools_(std::move(tools)), state_(in_reasoning ? State::kReasoning : State::kContent) {}

void MarkupParser::PushText(std::string_view text) {
  while (!text.empty()) {
    std::string plain;
    const std::optional<Tag> tag = scanner_.Next(&text, Wanted(), &plain);
    OnPlain(plain);
    if (tag.has_value()) {
      OnTag(*tag);
    }
  }
}

void MarkupParser::PushThink(bool is_end) {
  if (state_ == State::kValue) {
    PushText(is_end ? kThinkEndText : kThinkText);
    return;
  }
  if (state_ != State::kReasoning && state_ != State::kContent) {
    return;
  }
  GiveUpTag();
  if (in_reasoning() != is_end) {
    return;  // <think> in reasoning, </think> in content: swallowed.
  }
  ReleaseNewlines();
  state_ = is_end ? State::kContent : State::kReasoning;
  reasoning_closed_ = reasoning_closed_ || is_end;
}

void MarkupParser::Finish(bool cut) {
  switch (state_) {
    case State::kReasoning:
    case State::kContent:
      GiveUpTag();
      ReleaseNewlines();
      break;
    case State::kCall:
      Drop(scanner_.Abandon());
      if (!cut) {
        EndCall();
      }
      break;
    case State::kBlock:
    case State::kValue:
      Drop(scanner_.Abandon());
      break;
  }
  const bool was_answer = in_reasoning() && !cut && !has_content_ && calls_ == 0 &&
                          !reasoning_closed_ && !reasoning_.empty();
  if (was_answer) {
    Emit(AnswerPiece::Kind::kReasoningAsContent, reasoning_);
  }
}

std::vector<AnswerPiece> MarkupParser::Take() {
  return std::exchange(pieces_, {});
}

TagSet MarkupParser::Wanted() const {
  switch (state_) {
    case State::kReasoning:
      return kTagsOfReasoning;
    case State::kValue:
      return kTagsOfValue;
    case State::kContent:
    case State::kBlock:
    case State::kCall:
      break;
  }
  return kAllTags;
}

void MarkupParser::OnPlain(std::string_view text) {
  if (text.empty()) {
    return;
  }
  if (state_ == State::kValue) {
    std::string arguments;
    arguments_->AddText(text, &arguments);
    Emit(AnswerPiece::Kind::kCallArguments, arguments);
  } else if (state_ == State::kReasoning || state_ == State::kContent) {
    OnProse(text);
  } else {
    Drop(text);
  }
}

void MarkupParser::OnTag(const Tag& tag) {
  using Kind = Tag::Kind;
  if (state_ == State::kReasoning || state_ == State::kContent) {
    OnTagInProse(tag);
    return;
  }
  std::string arguments;
  if (state_ == State::kValue) {
    arguments_->EndParameter(&arguments);
    state_ = State::kCall;
  }
  if (tag.kind == Kind::kParameter && state_ == State::kCall) {
    arguments_->BeginParameter(tag, &arguments);
    state_ = State::kValue;
  }
  Emit(AnswerPiece::Kind::kCallArguments, arguments);
  const bool ends_call =
      tag.kind == Kind::kInvokeEnd || tag.kind == Kind::kInvoke || tag.kind == Kind::kBlockEnd;
  if (ends_call && state_ == State::kCall) {
    EndCall();
  }
  if (tag.kind == Kind::kInvoke) {
    BeginCall(tag);
  } else if (tag.kind == Kind::kBlockEnd) {
    state_ = State::kContent;
    after_block_ = true;
  }
}

void MarkupParser::OnTagInProse(const Tag& tag) {
  if (tag.kind != Tag::Kind::kBlock) {
    // What is left of a block whose end came too early. It must not reach a reader.
    dropped_bytes_ += static_cast<std::int64_t>(kMarkupText.size());
    return;
  }
  newlines_.clear();
  gap_.clear();
  after_block_ = false;
  reasoning_closed_ = reasoning_closed_ || in_reasoning();
  state_ = State::kBlock;
}

void MarkupParser::OnProse(std::string_view text) {
  if (after_block_ && state_ == State::kContent) {
    const std::size_t begin = text.find_first_not_of(kWhiteSpaceCharacters);
    gap_ += text.substr(0, begin);
    if (begin == std::string_view::npos) {
      return;
    }
    text.remove_prefix(begin);
    after_block_ = false;
    EmitProse(has_content_ ? gap_ : "");
    gap_.clear();
  }
  const std::size_t last = text.find_last_not_of('\n');
  const std::size_t trailing = text.size() - (last == std::string_view::npos ? 0 : last + 1);
  if (trailing < text.size()) {
    ReleaseNewlines();
  }
  EmitProse(text.substr(0, text.size() - trailing));
  newlines_.append(trailing, '\n');
  if (newlines_.size() > kSeparatorNewlines) {
    EmitProse(std::string_view(newlines_).substr(kSeparatorNewlines));
    newlines_.resize(kSeparatorNewlines);
  }
}

void MarkupParser::ReleaseNewlines() {
  EmitProse(std::exchange(newlines_, std::string()));
}

void MarkupParser::GiveUpTag() {
  const std::string held = scanner_.Abandon();
  if (held.find(kMarkupText) != std::string::npos) {
    Drop(held);
  } else if (!held.empty()) {
    OnProse(held);
  }
}

void MarkupParser::BeginCall(const Tag& tag) {
  arguments_ = std::make_unique<ArgumentWriter>(tools_.Find(*tag.name));
  state_ = State::kCall;
  ++calls_;
  Emit(AnswerPiece::Kind::kCallBegin, *tag.name);
}

void MarkupParser::EndCall() {
  std::string arguments;
  arguments_->Finish(&arguments);
  Emit(AnswerPiece::Kind::kCallArguments, arguments);
  Emit(AnswerPiece::Kind::kCallEnd, "");
  state_ = State::kBlock;
}

void MarkupParser::Emit(AnswerPiece::Kind kind, std::string_view text) {
  using Kind = AnswerPiece::Kind;
  const bool is_call =
      kind == Kind::kCallBegin || kind == Kind::kCallArguments || kind == Kind::kCallEnd;
  if (is_call && !tools_.any()) {
    return;
  }
  if (text.empty() && kind != Kind::kCallEnd) {
    return;
  }
  const std::int32_t call = is_call ? calls_ - 1 : 0;
  const bool joins = !pieces_.empty() && pieces_.back().kind == kind &&
                     pieces_.back().call == call && kind != Kind::kCallBegin &&
                     kind != Kind::kCallEnd;
  if (joins) {
    pieces_.back().text += text;
  } else {
    pieces_.push_back({kind, std::string(text), call});
  }
}

void MarkupParser::EmitProse(std::string_view text) {
  if (in_reasoning()) {
    reasoning_ += reasoning_closed_ ? "" : text;
    Emit(AnswerPiece::Kind::kReasoning, text);
  } else {
    has_content_ = has_content_ || !text.empty();
    Emit(AnswerPiece::Kind::kContent, text);
  }
}

void MarkupParser::Drop(std::string_view text) {
  dropped_bytes_ +=
      std::count_if(text.begin(), text.end(), [](char c) { return !IsWhiteSpace(c); });
}

}  // namespace sparkspan::engine::text
