#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "head/api/generation.h"
#include "head/api/text_codec.h"

// An engine and a text model that a test writes by hand.
namespace sparkspan::head::http {

constexpr engine::Token kEos = 256;
constexpr engine::Token kThinkEnd = 257;
constexpr engine::Token kCallBegin = 258;  // Of a function named "f"; its arguments follow.
constexpr engine::Token kCallEnd = 259;
constexpr engine::Token kBadMarkup = 260;  // Dropped.
constexpr std::int64_t kBadMarkupBytes = 7;
constexpr std::int32_t kVocabulary = 261;

// Bytes are tokens. Reads reasoning up to kThinkEnd when the prompt ends in '?'.
class ByteReader final : public api::OutputReader {
 public:
  explicit ByteReader(bool in_reasoning) : in_reasoning_(in_reasoning) {}

  std::vector<api::OutputPiece> Push(engine::Token token) override {
    using Kind = api::OutputPiece::Kind;
    reasoning_tokens_ += in_reasoning_ ? 1 : 0;
    if (token == kThinkEnd) {
      in_reasoning_ = false;
      return {};
    }
    if (token == kCallBegin) {
      in_call_ = true;
      return {{Kind::kCallBegin, "f", ++call_, "call_" + std::to_string(call_)}};
    }
    if (token == kCallEnd) {
      in_call_ = false;
      return {{Kind::kCallEnd, "", call_, ""}};
    }
    if (token == kBadMarkup) {
      dropped_markup_bytes_ += kBadMarkupBytes;
    }
    if (token >= kEos) {
      return {};
    }
    bytes_ += static_cast<char>(token);
    // Whole characters only, as a detokenizer gives them.
    const auto lead = static_cast<unsigned char>(bytes_[0]);
    const std::size_t length = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (bytes_.size() < length) {
      return {};
    }
    const Kind kind = in_call_        ? Kind::kCallArguments
                      : in_reasoning_ ? Kind::kReasoning
                                      : Kind::kContent;
    return {{kind, std::exchange(bytes_, ""), in_call_ ? call_ : 0, ""}};
  }

  std::vector<api::OutputPiece> Finish(bool) override { return {}; }
  std::int64_t reasoning_tokens() const override { return reasoning_tokens_; }
  std::int64_t dropped_markup_bytes() const override { return dropped_markup_bytes_; }

 private:
  bool in_reasoning_;
  bool in_call_ = false;
  std::int32_t call_ = -1;
  std::int64_t reasoning_tokens_ = 0;
  std::int64_t dropped_markup_bytes_ = 0;
  std::string bytes_;
};

class ByteCodec final : public api::TextCodec {
 public:
  absl::StatusOr<std::string> RenderChat(const api::ChatRequest& request) const override {
    std::string text;
    for (const api::ChatMessage& message : request.messages) {
      text += message.content;
    }
    return text + (request.thinking.on ? "?" : "!");
  }
  absl::StatusOr<std::string> RenderInfill(std::string_view prefix,
                                           std::string_view suffix) const override {
    return std::string(prefix) + "[" + std::string(suffix) + "]";
  }
  absl::StatusOr<engine::runtime::ForcedTokens> BeginCall(std::span<const engine::Token> prompt,
                                                          const api::ChatRequest&) const override {
    engine::runtime::ForcedTokens forced{.after = {}, .tokens = {kCallBegin}};
    if (prompt.back() == '?') {
      forced.after = kThinkEnd;
    }
    return forced;
  }
  absl::StatusOr<std::vector<engine::Token>> Encode(std::string_view text) const override {
    std::vector<engine::Token> tokens;
    for (const char c : text) {
      tokens.push_back(static_cast<unsigned char>(c));
    }
    return tokens;
  }
  std::string TokenBytes(engine::Token token) const override {
    return token < kEos ? std::string(1, static_cast<char>(token))
                        : "<" + std::to_string(token) + ">";
  }
  std::string Decode(std::span<const engine::Token> tokens) const override {
    std::string text;
    for (const engine::Token token : tokens) {
      text += TokenBytes(token);
    }
    return text;
  }
  std::size_t token_bytes_max() const override { return 1; }
  std::unique_ptr<api::OutputReader> NewChatReader(std::span<const engine::Token> prompt,
                                                   const api::ChatRequest&) const override {
    return std::make_unique<ByteReader>(prompt.back() == '?');
  }
  std::unique_ptr<api::OutputReader> NewPlainReader(bool) const override {
    return std::make_unique<ByteReader>(false);
  }
};

// Answers each request by a script, and shows what it was asked.
class FakeGenerator final : public api::Generator {
 public:
  using Script = std::function<void(const api::GenerationRequest&, api::GenerationStream&)>;

  absl::StatusOr<std::shared_ptr<api::GenerationStream>> Submit(
      api::GenerationRequest request) override {
    const std::lock_guard lock(mutex_);
    if (!submit_status_.ok()) {
      return submit_status_;
    }
    if (requests_.size() >= requests_max_) {
      return absl::ResourceExhaustedError("the queue is full");
    }
    auto stream = std::make_shared<api::GenerationStream>();
    if (script_) {
      script_(request, *stream);
    }
    requests_.push_back(std::move(request));
    streams_.push_back(stream);
    return stream;
  }
  api::EngineReadiness Readiness() const override {
    const std::lock_guard lock(mutex_);
    return status_;
  }
  api::EngineStatus Status() const override {
    const std::lock_guard lock(mutex_);
    ++status_calls_;
    return status_;
  }
  int status_calls() const {
    const std::lock_guard lock(mutex_);
    return status_calls_;
  }
  void FlushPrefixCache() override {}

  void SetScript(Script script) {
    const std::lock_guard lock(mutex_);
    script_ = std::move(script);
  }
  void SetSubmitStatus(absl::Status status) {
    const std::lock_guard lock(mutex_);
    submit_status_ = std::move(status);
  }
  void SetStatus(api::EngineStatus status) {
    const std::lock_guard lock(mutex_);
    status_ = std::move(status);
  }
  api::GenerationRequest LastRequest() const {
    const std::lock_guard lock(mutex_);
    return requests_.back();
  }
  std::vector<api::GenerationRequest> Requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  std::vector<std::shared_ptr<api::GenerationStream>> Streams() const {
    const std::lock_guard lock(mutex_);
    return streams_;
  }
  // Further ones find a full queue.
  void SetRequestsMax(std::size_t requests_max) {
    const std::lock_guard lock(mutex_);
    requests_max_ = requests_max;
  }
  std::shared_ptr<api::GenerationStream> LastStream() const {
    const std::lock_guard lock(mutex_);
    return streams_.empty() ? nullptr : streams_.back();
  }

 private:
  mutable std::mutex mutex_;
  Script script_;
  absl::Status submit_status_;
  std::size_t requests_max_ = std::numeric_limits<std::size_t>::max();
  api::EngineStatus status_;
  mutable int status_calls_ = 0;
  std::vector<api::GenerationRequest> requests_;
  std::vector<std::shared_ptr<api::GenerationStream>> streams_;
};

inline api::GenerationEvent TokensEvent(const std::vector<engine::Token>& tokens,
                                        bool with_logprobs = false) {
  api::GenerationEvent event;
  event.time = engine::SteadyClock().Now();
  for (const engine::Token token : tokens) {
    engine::runtime::CommittedToken committed;
    committed.token = token;
    if (with_logprobs) {
      committed.logprob = -0.5f;
      committed.top = {{token, -0.5f}, {65, -1.5f}};
    }
    event.tokens.push_back(committed);
  }
  return event;
}

// Text as tokens; '#' ends reasoning, '{{' is left as it is, '<' and '>' frame a call's arguments.
inline std::vector<engine::Token> Script(std::string_view text) {
  std::vector<engine::Token> tokens;
  for (const char c : text) {
    tokens.push_back(c == '#'   ? kThinkEnd
                     : c == '<' ? kCallBegin
                     : c == '>' ? kCallEnd
                                : static_cast<unsigned char>(c));
  }
  return tokens;
}

// Pushes `text` in steps of `step` tokens, then the finish.
inline FakeGenerator::Script Says(std::string text,
                                  std::size_t step = 1,
                                  api::FinishReason reason = api::FinishReason::kStop) {
  return [=](const api::GenerationRequest& request, api::GenerationStream& stream) {
    stream.MarkScheduled(engine::SteadyClock().Now());
    std::vector<engine::Token> tokens = Script(text);
    if (reason == api::FinishReason::kStop) {
      tokens.push_back(kEos);
    }
    for (std::size_t at = 0; at < tokens.size(); at += step) {
      const std::size_t end = std::min(tokens.size(), at + step);
      api::GenerationEvent event = TokensEvent({tokens.begin() + static_cast<std::ptrdiff_t>(at),
                                                tokens.begin() + static_cast<std::ptrdiff_t>(end)},
                                               request.sampling.top_logprobs >= 0);
      if (end == tokens.size()) {
        event.finish = api::GenerationFinish{.reason = reason, .token = {}, .error = {}};
        if (reason == api::FinishReason::kStop) {
          event.finish->token = kEos;
        }
      }
      stream.Push(std::move(event));
    }
  };
}

}  // namespace sparkspan::head::http
