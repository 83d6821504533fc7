#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/base/log.h"
#include "head/api/json.h"
#include "head/api/request.h"

// Bodies of chat, completion and tokenizing requests, as a stranger may send them.
namespace sparkspan::head::api {
namespace {

const ServedModel& Model() {
  static const ServedModel model = [] {
    ServedModel result;
    result.names = {"demo"};
    result.context_length = 4096;
    result.vocabulary_size = 1000;
    return result;
  }();
  return model;
}

void CheckError(const ApiError& error) {
  CHECK(!error.message.empty()) << "an error without a message";
  std::string why;
  CHECK(ParseJson(ErrorBody(error), JsonLimits{}, &why).has_value()) << why;
}

void Try(std::string_view body) {
  const OrError<ChatRequest> chat = ParseChatRequest(body, Model());
  if (chat.ok()) {
    CHECK(!chat->messages.empty()) << "a chat without messages";
    CHECK(chat->common.max_tokens.value_or(1) >= 1) << "a limit below one token";
  } else {
    CheckError(chat.error());
  }
  const OrError<CompletionRequest> completion = ParseCompletionRequest(body, Model());
  if (!completion.ok()) {
    CheckError(completion.error());
  }
  const OrError<TokenizeRequest> tokenize = ParseTokenizeRequest(body, Model());
  if (!tokenize.ok()) {
    CheckError(tokenize.error());
  }
  // What was parsed can be printed and parsed again to the same text.
  std::string why;
  if (const std::optional<JsonValue> value = ParseJson(body, JsonLimits{}, &why)) {
    const std::string text = value->ToText();
    const std::optional<JsonValue> again = ParseJson(text, JsonLimits{}, &why);
    CHECK(again.has_value()) << why;
    CHECK(again->ToText() == text) << text;
  }
}

}  // namespace
}  // namespace sparkspan::head::api

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  sparkspan::head::api::Try({reinterpret_cast<const char*>(data), size});
  return 0;
}
