#include "head/api/model_codec.h"

#include <random>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/text/control_text.h"
#include "engine/text/utf8.h"

namespace sparkspan::head::api {
namespace {

using engine::Token;
using engine::text::AnswerPiece;
using EncodedMessage = engine::text::ChatMessage;
using engine::text::EncodedEffort;
using engine::text::EncodingProfile;
using Kind = OutputPiece::Kind;

// 24 hex digits from the system's generator: 96 bits do not meet twice in a server's life.
std::string NewCallId() {
  thread_local std::random_device device;
  return absl::StrFormat("call_%08x%08x%08x", device(), device(), device());
}

EncodedMessage::Role RoleOf(ChatMessage::Role role) {
  switch (role) {
    case ChatMessage::Role::kSystem:
      return EncodedMessage::Role::kSystem;
    case ChatMessage::Role::kUser:
      return EncodedMessage::Role::kUser;
    case ChatMessage::Role::kAssistant:
      return EncodedMessage::Role::kAssistant;
    case ChatMessage::Role::kTool:
      return EncodedMessage::Role::kTool;
  }
  return EncodedMessage::Role::kUser;
}

std::vector<EncodedMessage> MessagesOf(const ChatRequest& request) {
  std::vector<EncodedMessage> messages;
  for (const ChatMessage& from : request.messages) {
    EncodedMessage& message = messages.emplace_back();
    message.role = RoleOf(from.role);
    message.content = from.content;
    message.reasoning = from.reasoning;
    for (const ToolCall& call : from.tool_calls) {
      message.calls.push_back({call.id, call.name, call.arguments});
    }
    message.call_id = from.tool_call_id;
  }
  messages.back().is_open = request.continue_final_message;
  return messages;
}

std::vector<std::string> FunctionsOf(const ChatRequest& request) {
  std::vector<std::string> functions;
  for (const Tool& tool : request.tools) {
    functions.push_back(tool.function);
  }
  return functions;
}

class ChatReader final : public OutputReader {
 public:
  ChatReader(const engine::text::Tokenizer& tokenizer,
             const engine::text::ControlTokens& control,
             engine::text::OutputOptions options)
      : parser_(tokenizer, control, std::move(options)) {}

  std::vector<OutputPiece> Push(Token token) override { return Converted(parser_.Push(token)); }

  std::vector<OutputPiece> Finish(bool cut) override { return Converted(parser_.Finish(cut)); }

  std::int64_t reasoning_tokens() const override { return parser_.reasoning_tokens(); }
  std::int64_t dropped_markup_bytes() const override { return parser_.dropped_bytes(); }

 private:
  static Kind KindOf(AnswerPiece::Kind kind) {
    switch (kind) {
      case AnswerPiece::Kind::kReasoning:
        return Kind::kReasoning;
      case AnswerPiece::Kind::kContent:
        return Kind::kContent;
      case AnswerPiece::Kind::kCallBegin:
        return Kind::kCallBegin;
      case AnswerPiece::Kind::kCallArguments:
        return Kind::kCallArguments;
      case AnswerPiece::Kind::kCallEnd:
        return Kind::kCallEnd;
      case AnswerPiece::Kind::kReasoningAsContent:
        return Kind::kReasoningAsContent;
    }
    return Kind::kContent;
  }

  static std::vector<OutputPiece> Converted(std::vector<AnswerPiece> pieces) {
    std::vector<OutputPiece> converted;
    converted.reserve(pieces.size());
    for (AnswerPiece& piece : pieces) {
      const Kind kind = KindOf(piece.kind);
      converted.push_back({kind,
                           std::move(piece.text),
                           piece.call,
                           kind == Kind::kCallBegin ? NewCallId() : std::string()});
    }
    return converted;
  }

  engine::text::OutputParser parser_;
};

class PlainReader final : public OutputReader {
 public:
  PlainReader(const engine::text::Tokenizer& tokenizer, Token eos, bool skip_special)
      : tokenizer_(tokenizer), eos_(eos), skip_special_(skip_special) {}

  std::vector<OutputPiece> Push(Token token) override {
    std::string text;
    if (token != eos_ && !(skip_special_ && tokenizer_.IsSpecial(token))) {
      decoder_.Push(tokenizer_.TokenBytes(token), &text);
    }
    return Pieces(std::move(text));
  }

  std::vector<OutputPiece> Finish(bool) override {
    std::string text;
    decoder_.Flush(&text);
    return Pieces(std::move(text));
  }

  std::int64_t reasoning_tokens() const override { return 0; }
  std::int64_t dropped_markup_bytes() const override { return 0; }

 private:
  static std::vector<OutputPiece> Pieces(std::string text) {
    if (text.empty()) {
      return {};
    }
    return {{Kind::kContent, std::move(text), 0, ""}};
  }

  const engine::text::Tokenizer& tokenizer_;
  const Token eos_;
  const bool skip_special_;
  engine::text::Utf8Decoder decoder_;
};

}  // namespace

EncodedEffort EncodedEffortOf(const ThinkingMode& thinking, EncodingProfile profile) {
  if (!thinking.on || !thinking.effort.has_value()) {
    return EncodedEffort::kNone;
  }
  const bool is_preview = profile == EncodingProfile::kPreview;
  switch (*thinking.effort) {
    case ReasoningEffort::kMinimal:
    case ReasoningEffort::kLow:
    case ReasoningEffort::kMedium:
      return is_preview ? EncodedEffort::kNone : EncodedEffort::kLow;
    case ReasoningEffort::kHigh:
      return EncodedEffort::kHigh;
    case ReasoningEffort::kXhigh:
      return is_preview ? EncodedEffort::kMax : EncodedEffort::kHigh;
    case ReasoningEffort::kMax:
      return EncodedEffort::kMax;
  }
  return EncodedEffort::kNone;
}

absl::StatusOr<std::unique_ptr<ModelCodec>> ModelCodec::Open(
    const std::string& folder, std::optional<EncodingProfile> profile) {
  ASSIGN_OR_RETURN(auto tokenizer, engine::text::Tokenizer::Load(folder));
  ASSIGN_OR_RETURN(const auto control, engine::text::ControlTokens::Of(*tokenizer));
  if (!profile.has_value()) {
    ASSIGN_OR_RETURN(profile, engine::text::DetectProfile(folder));
  }
  return std::make_unique<ModelCodec>(std::move(tokenizer), control, *profile);
}

ModelCodec::ModelCodec(std::shared_ptr<const engine::text::Tokenizer> tokenizer,
                       engine::text::ControlTokens control,
                       EncodingProfile profile)
    : tokenizer_(std::move(tokenizer)), control_(control), profile_(profile) {}

absl::StatusOr<std::string> ModelCodec::RenderChat(const ChatRequest& request) const {
  if (request.messages.empty()) {
    return absl::InvalidArgumentError("messages is empty; give at least one");
  }
  engine::text::ChatFormat format;
  format.profile = profile_;
  format.thinking = request.thinking.on;
  format.effort = EncodedEffortOf(request.thinking, profile_);
  format.add_header = request.add_generation_prompt;
  std::vector<EncodedMessage> messages = MessagesOf(request);
  engine::text::AttachTools(FunctionsOf(request), &messages);
  if (request.format.has_value()) {
    engine::text::AttachFormat(*request.format, &messages);
  }
  // The encoder ends a closed last turn of the assistant without a header, and the model then
  // writes anything: the API starts a fresh turn.
  const bool starts_turn = request.add_generation_prompt && !request.continue_final_message &&
                           messages.back().role == EncodedMessage::Role::kAssistant;
  ASSIGN_OR_RETURN(std::string prompt,
                   engine::text::RenderChat(std::move(messages), /*context=*/{}, format));
  return prompt + (starts_turn ? engine::text::AssistantHeader(format.thinking) : "");
}

absl::StatusOr<std::string> ModelCodec::RenderInfill(std::string_view prefix,
                                                     std::string_view suffix) const {
  using engine::text::kInfillBeginText;
  using engine::text::kInfillEndText;
  using engine::text::kInfillHoleText;
  for (const std::string_view token : {kInfillBeginText, kInfillHoleText, kInfillEndText}) {
    if (!tokenizer_->AddedToken(token).has_value()) {
      return absl::UnimplementedError(
          absl::StrFormat("the model's vocabulary has no %s", std::string(token)));
    }
  }
  return absl::StrFormat("%s%s%s%s%s",
                         std::string(kInfillBeginText),
                         std::string(prefix),
                         std::string(kInfillHoleText),
                         std::string(suffix),
                         std::string(kInfillEndText));
}

absl::StatusOr<engine::runtime::ForcedTokens> ModelCodec::BeginCall(
    std::span<const Token> prompt, const ChatRequest& request) const {
  // Where only one function can be called, its name needs no choice.
  const std::string& name =
      request.tools.size() == 1 ? request.tools.front().name : request.must_call_name;
  engine::runtime::ForcedTokens forced;
  ASSIGN_OR_RETURN(forced.tokens, tokenizer_->Encode(engine::text::CallBeginning(name)));
  if (engine::text::EndsInReasoning(prompt, control_)) {
    forced.after = control_.think_end;
  }
  return forced;
}

absl::StatusOr<std::vector<Token>> ModelCodec::Encode(std::string_view text) const {
  return tokenizer_->Encode(text);
}

std::string ModelCodec::TokenBytes(Token token) const {
  return std::string(tokenizer_->TokenBytes(token));
}

std::string ModelCodec::Decode(std::span<const Token> tokens) const {
  return tokenizer_->Decode(tokens, /*skip_special=*/false);
}

std::unique_ptr<OutputReader> ModelCodec::NewChatReader(std::span<const Token> prompt,
                                                        const ChatRequest& request) const {
  engine::text::OutputOptions options;
  options.in_reasoning = engine::text::EndsInReasoning(prompt, control_);
  options.tools = engine::text::OfferedTools::Of(FunctionsOf(request));
  options.skip_special = request.common.skip_special_tokens;
  return std::make_unique<ChatReader>(*tokenizer_, control_, std::move(options));
}

std::unique_ptr<OutputReader> ModelCodec::NewPlainReader(bool skip_special_tokens) const {
  return std::make_unique<PlainReader>(*tokenizer_, control_.eos, skip_special_tokens);
}

}  // namespace sparkspan::head::api
