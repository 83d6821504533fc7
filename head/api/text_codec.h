#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/ids.h"
#include "head/api/request.h"

// What the API needs from the text of a model: prompts from chats, tokens from text, and answers
// from tokens. Implemented over engine/text; a test may implement it over bytes.
namespace sparkspan::head::api {

// A piece of an answer, in the order in which a client may read it.
struct OutputPiece {
  enum class Kind {
    kReasoning,
    kContent,
    kCallBegin,      // `text` is the function's name, `id` the call's id.
    kCallArguments,  // More of the arguments' JSON text.
    kCallEnd,        // The call is complete; only then does it count.
    // The answer ended inside its reasoning without a call or content: `text` repeats all of the
    // reasoning, which was the answer. A whole answer has it as content only.
    kReasoningAsContent,
  };
  Kind kind = Kind::kContent;
  std::string text;
  std::int32_t call = 0;  // Counts the answer's calls from 0.
  std::string id;

  bool operator==(const OutputPiece&) const = default;
};

// Turns the tokens of one answer into pieces. The pieces' sum depends on the tokens alone, not on
// how calls are grouped. One thread.
class OutputReader {
 public:
  virtual ~OutputReader() = default;

  virtual std::vector<OutputPiece> Push(engine::Token token) = 0;
  // The answer ended: by itself, or cut by a limit.
  virtual std::vector<OutputPiece> Finish(bool cut) = 0;
  // Tokens spent inside reasoning, the closing tag included.
  virtual std::int64_t reasoning_tokens() const = 0;
  // Of markup that could not be read.
  virtual std::int64_t dropped_markup_bytes() const = 0;
};

// Thread-safe.
class TextCodec {
 public:
  virtual ~TextCodec() = default;

  // The prompt's text, special tokens spelled out. InvalidArgument when the chat cannot be
  // rendered.
  virtual absl::StatusOr<std::string> RenderChat(const ChatRequest& request) const = 0;
  // A prompt whose answer leads from `prefix` to `suffix`. Unimplemented: the model has no tokens
  // for that.
  virtual absl::StatusOr<std::string> RenderInfill(std::string_view prefix,
                                                   std::string_view suffix) const = 0;
  // What to give so that the answer begins with the call that `request` must make, once the
  // reasoning that `prompt` leaves the model in has ended.
  virtual absl::StatusOr<engine::runtime::ForcedTokens> BeginCall(
      std::span<const engine::Token> prompt, const ChatRequest& request) const = 0;
  virtual absl::StatusOr<std::vector<engine::Token>> Encode(std::string_view text) const = 0;
  // The bytes of one token, which need not be whole characters.
  virtual std::string TokenBytes(engine::Token token) const = 0;
  virtual std::string Decode(std::span<const engine::Token> tokens) const = 0;
  // At most so many bytes of text become one token.
  virtual std::size_t token_bytes_max() const = 0;

  // Starts in the state in which the prompt left the model: never decided from request fields.
  virtual std::unique_ptr<OutputReader> NewChatReader(std::span<const engine::Token> prompt,
                                                      const ChatRequest& request) const = 0;
  // Everything is content.
  virtual std::unique_ptr<OutputReader> NewPlainReader(bool skip_special_tokens) const = 0;
};

}  // namespace sparkspan::head::api
