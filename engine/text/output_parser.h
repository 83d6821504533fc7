#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/ids.h"
#include "engine/text/markup_parser.h"
#include "engine/text/tokenizer.h"
#include "engine/text/utf8.h"

namespace sparkspan::engine::text {

// The ids of the tokens that steer an answer, which differ between vocabularies.
struct ControlTokens {
  Token eos = 0;
  Token assistant = 0;
  Token think = 0;
  Token think_end = 0;

  // InvalidArgument, naming the token, for a vocabulary that lacks one.
  static absl::StatusOr<ControlTokens> Of(const Tokenizer& tokenizer);
};

// Whether the prompt left the model in its reasoning: the last think token after the last
// assistant's header decides. Never a field of the request, which may not be what was rendered.
bool EndsInReasoning(std::span<const Token> prompt, const ControlTokens& control);

struct OutputOptions {
  bool in_reasoning = false;
  OfferedTools tools;
  bool skip_special = true;  // The end of the answer is never text.
};

// Turns the tokens of one answer into pieces, each as soon as it is certain. The pieces' sum
// depends on the tokens' bytes and the think tokens alone. One thread.
class OutputParser {
 public:
  // `tokenizer` must outlive the parser.
  OutputParser(const Tokenizer& tokenizer, const ControlTokens& control, OutputOptions options);

  std::vector<AnswerPiece> Push(Token token);
  // The answer ended: by itself, or `cut` by a limit.
  std::vector<AnswerPiece> Finish(bool cut);

  // Tokens generated inside reasoning, the one that closed it included, the end of the answer not.
  std::int64_t reasoning_tokens() const { return reasoning_tokens_; }
  std::int64_t dropped_bytes() const { return markup_.dropped_bytes(); }

 private:
  const Tokenizer& tokenizer_;
  const ControlTokens control_;
  const bool skip_special_;
  Utf8Decoder decoder_;
  MarkupParser markup_;
  std::int64_t reasoning_tokens_ = 0;
};

}  // namespace sparkspan::engine::text
