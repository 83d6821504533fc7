#include "deploy/cli/text_cases.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "deploy/cli/chat_case.h"
#include "engine/base/status.h"
#include "engine/text/json.h"
#include "engine/text/output_parser.h"
#include "engine/text/utf8.h"

namespace sparkspan::deploy::cli {
namespace {

using engine::Token;
using engine::text::AnswerPiece;
using engine::text::JsonValue;
using engine::text::OfferedTools;
using engine::text::Tokenizer;
using Json = nlohmann::ordered_json;

Json NullIfEmpty(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

absl::StatusOr<std::string> TextOf(const JsonValue& item, std::string_view name) {
  const JsonValue* value = item.Find(name);
  if (value == nullptr || value->string() == nullptr) {
    return absl::InvalidArgumentError(absl::StrFormat("'%s' must be a string", name));
  }
  return *value->string();
}

absl::StatusOr<Json> TokenizerCase(const Tokenizer& tokenizer, const JsonValue& item) {
  ASSIGN_OR_RETURN(const std::string text, TextOf(item, "text"));
  ASSIGN_OR_RETURN(const std::vector<Token> ids, tokenizer.Encode(text));
  return Json{{"ids", ids}, {"decoded_skip_special", tokenizer.Decode(ids, /*skip_special=*/true)}};
}

absl::StatusOr<Json> StreamCase(const Tokenizer& tokenizer, const JsonValue& item) {
  const JsonValue* list = item.Find("ids");
  engine::text::Utf8Decoder decoder;
  std::vector<std::string> deltas;
  std::string text;
  for (std::size_t i = 0; list->array() != nullptr && i < list->array()->size(); ++i) {
    const std::optional<std::int64_t> id = (*list->array())[i].AsInteger();
    if (!id.has_value() || *id < 0 || *id >= tokenizer.vocabulary_size()) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "ids[%d] must be an id from 0 to %d", i, tokenizer.vocabulary_size() - 1));
    }
    decoder.Push(tokenizer.TokenBytes(static_cast<Token>(*id)), &deltas.emplace_back());
    text += deltas.back();
  }
  std::string flush;
  decoder.Flush(&flush);
  return Json{{"text", text + flush}, {"deltas", deltas}, {"flush", flush}};
}

absl::StatusOr<Json> ChatCase(const Tokenizer& tokenizer, const JsonValue& item) {
  const absl::StatusOr<std::string> prompt = RenderChatCase(item);
  if (!prompt.ok()) {
    return Json{{"error", std::string(prompt.status().message())}};
  }
  ASSIGN_OR_RETURN(const std::vector<Token> ids, tokenizer.Encode(*prompt));
  return Json{{"prompt", *prompt}, {"ids", ids}, {"prompt_tokens", ids.size()}};
}

OfferedTools ToolsOf(const JsonValue& item) {
  const JsonValue* tools = item.Find("tools");
  if (tools == nullptr || tools->array() == nullptr) {
    return OfferedTools::Any();
  }
  std::vector<std::string> functions;
  for (const JsonValue& tool : *tools->array()) {
    const JsonValue* function = tool.Find("function");
    functions.push_back(function != nullptr ? function->ToText() : "{}");
  }
  return OfferedTools::Of(functions);
}

// An answer put together from its pieces, as one that is not streamed holds it.
class WholeAnswer {
 public:
  void Add(std::vector<AnswerPiece> pieces) {
    using Kind = AnswerPiece::Kind;
    for (AnswerPiece& piece : pieces) {
      switch (piece.kind) {
        case Kind::kReasoning:
          reasoning_ += piece.text;
          break;
        case Kind::kContent:
          content_ += piece.text;
          break;
        case Kind::kReasoningAsContent:
          reasoning_.clear();
          content_ += piece.text;
          break;
        case Kind::kCallBegin:
          name_ = std::move(piece.text);
          arguments_.clear();
          break;
        case Kind::kCallArguments:
          arguments_ += piece.text;
          break;
        case Kind::kCallEnd:
          calls_.push_back({{"name", name_}, {"arguments", arguments_}});
          break;
      }
    }
  }

  Json Result(const std::string& finish) const {
    return Json{{"reasoning", NullIfEmpty(reasoning_)},
                {"content", NullIfEmpty(content_)},
                {"tool_calls", calls_},
                {"finish_reason", finish == "stop" && !calls_.empty() ? "tool_calls" : finish}};
  }

 private:
  std::string reasoning_;
  std::string content_;
  std::string name_;
  std::string arguments_;
  Json calls_ = Json::array();
};

absl::StatusOr<Json> ParseCase(const Tokenizer& tokenizer, const JsonValue& item) {
  ASSIGN_OR_RETURN(const std::string output, TextOf(item, "output"));
  ASSIGN_OR_RETURN(const std::string mode, TextOf(item, "thinking_mode"));
  const std::string finish = TextOf(item, "finish").value_or("stop");
  ASSIGN_OR_RETURN(const auto control, engine::text::ControlTokens::Of(tokenizer));
  ASSIGN_OR_RETURN(const std::vector<Token> ids, tokenizer.Encode(output));
  engine::text::OutputParser parser(
      tokenizer, control, {.in_reasoning = mode == "thinking", .tools = ToolsOf(item)});
  WholeAnswer answer;
  for (const Token id : ids) {
    answer.Add(parser.Push(id));
  }
  answer.Add(parser.Finish(/*cut=*/finish == "length"));
  return answer.Result(finish);
}

absl::StatusOr<Json> RunCase(const Tokenizer& tokenizer, const JsonValue& item) {
  const auto has = [&](std::string_view name) { return item.Find(name) != nullptr; };
  if (has("output")) {
    return ParseCase(tokenizer, item);
  }
  if (has("messages")) {
    return ChatCase(tokenizer, item);
  }
  if (has("ids") && (has("deltas") || !has("text"))) {
    return StreamCase(tokenizer, item);
  }
  if (has("text")) {
    return TokenizerCase(tokenizer, item);
  }
  return absl::InvalidArgumentError("holds none of output, messages, ids and text");
}

}  // namespace

absl::StatusOr<std::vector<std::string>> RunTextCases(const Tokenizer& tokenizer,
                                                      std::string_view json) {
  std::string why;
  const std::optional<JsonValue> root =
      engine::text::ParseJson(json, {.depth_max = 256, .values_max = std::size_t{1} << 26}, &why);
  if (!root.has_value()) {
    return absl::InvalidArgumentError(why);
  }
  const JsonValue* cases = root->Find("cases");
  if (cases == nullptr || cases->array() == nullptr) {
    return absl::InvalidArgumentError("must be a JSON object with a list `cases`");
  }
  std::vector<std::string> lines;
  for (const JsonValue& item : *cases->array()) {
    absl::StatusOr<Json> result = RunCase(tokenizer, item);
    const std::string id = TextOf(item, "id").value_or(absl::StrFormat("%d", lines.size()));
    if (!result.ok()) {
      return absl::Status(result.status().code(),
                          absl::StrFormat("case %s: %s", id, result.status().message()));
    }
    Json line{{"id", id}};
    line.update(*result);
    // In ASCII: readers disagree on whether U+2028 and U+0085 end a line.
    lines.push_back(line.dump(-1, ' ', true, Json::error_handler_t::replace));
  }
  return lines;
}

}  // namespace sparkspan::deploy::cli
