#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/text/chat.h"
#include "engine/text/output_parser.h"
#include "engine/text/tokenizer.h"
#include "head/api/text_codec.h"

namespace sparkspan::head::api {

// The text of a published checkpoint: its tokenizer, its chat encoding, its tool markup.
// Thread-safe; it must outlive its readers.
class ModelCodec final : public TextCodec {
 public:
  // From a checkpoint's folder, of which only tokenizer.json, tokenizer_config.json and encoding/
  // are read. `profile` overrides what the folder says.
  static absl::StatusOr<std::unique_ptr<ModelCodec>> Open(
      const std::string& folder, std::optional<engine::text::EncodingProfile> profile);

  ModelCodec(std::shared_ptr<const engine::text::Tokenizer> tokenizer,
             engine::text::ControlTokens control,
             engine::text::EncodingProfile profile);

  absl::StatusOr<std::string> RenderChat(const ChatRequest& request) const override;
  absl::StatusOr<std::string> RenderInfill(std::string_view prefix,
                                           std::string_view suffix) const override;
  absl::StatusOr<engine::runtime::ForcedTokens> BeginCall(
      std::span<const engine::Token> prompt, const ChatRequest& request) const override;
  absl::StatusOr<std::vector<engine::Token>> Encode(std::string_view text) const override;
  std::string TokenBytes(engine::Token token) const override;
  std::string Decode(std::span<const engine::Token> tokens) const override;
  std::size_t token_bytes_max() const override { return tokenizer_->token_bytes_max(); }
  std::unique_ptr<OutputReader> NewChatReader(std::span<const engine::Token> prompt,
                                              const ChatRequest& request) const override;
  std::unique_ptr<OutputReader> NewPlainReader(bool skip_special_tokens) const override;

  const engine::text::Tokenizer& tokenizer() const { return *tokenizer_; }
  engine::text::EncodingProfile profile() const { return profile_; }

 private:
  const std::shared_ptr<const engine::text::Tokenizer> tokenizer_;
  const engine::text::ControlTokens control_;
  const engine::text::EncodingProfile profile_;
};

// The effort that the encoding knows for what a client asked: the profiles name fewer.
engine::text::EncodedEffort EncodedEffortOf(const ThinkingMode& thinking,
                                            engine::text::EncodingProfile profile);

}  // namespace sparkspan::head::api
