#include "engine/text/output_parser.h"

#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/text/control_text.h"

namespace sparkspan::engine::text {

absl::StatusOr<ControlTokens> ControlTokens::Of(const Tokenizer& tokenizer) {
  ControlTokens control;
  for (const auto& [text, token] : {std::pair{kEosText, &control.eos},
                                    {kAssistantText, &control.assistant},
                                    {kThinkText, &control.think},
                                    {kThinkEndText, &control.think_end}}) {
    const std::optional<Token> found = tokenizer.AddedToken(text);
    if (!found.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrFormat("the vocabulary has no token %s, which the chat encoding needs", text));
    }
    *token = *found;
  }
  return control;
}

bool EndsInReasoning(std::span<const Token> prompt, const ControlTokens& control) {
  std::optional<Token> last_think;
  for (auto token = prompt.rbegin(); token != prompt.rend(); ++token) {
    if (*token == control.assistant) {
      return last_think == control.think;
    }
    if (!last_think.has_value() && (*token == control.think || *token == control.think_end)) {
      last_think = *token;
    }
  }
  return false;
}

OutputParser::OutputParser(const Tokenizer& tokenizer,
                           const ControlTokens& control,
                           OutputOptions options)
    : tokenizer_(tokenizer),
      control_(control),
      skip_special_(options.skip_special),
      markup_(options.in_reasoning, std::move(options.tools)) {}

std::vector<AnswerPiece> OutputParser::Push(Token token) {
  if (token == control_.eos) {
    return {};
  }
  reasoning_tokens_ += markup_.in_reasoning() ? 1 : 0;
  std::string text;
  if (token == control_.think || token == control_.think_end) {
    decoder_.Flush(&text);
    markup_.PushText(text);
    markup_.PushThink(token == control_.think_end);
  } else if (!skip_special_ || !tokenizer_.IsSpecial(token)) {
    decoder_.Push(tokenizer_.TokenBytes(token), &text);
    markup_.PushText(text);
  }
  return markup_.Take();
}

std::vector<AnswerPiece> OutputParser::Finish(bool cut) {
  std::string text;
  decoder_.Flush(&text);
  markup_.PushText(text);
  markup_.Finish(cut);
  return markup_.Take();
}

}  // namespace sparkspan::engine::text
