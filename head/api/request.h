#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/ids.h"
#include "engine/runtime/plan.h"
#include "head/api/error.h"

// What OpenAI clients may ask, parsed and checked. Pure: no clock, no randomness, no engine.
namespace sparkspan::head::api {

// How much the model should think, as a client spells it.
enum class ReasoningEffort { kMinimal, kLow, kMedium, kHigh, kXhigh, kMax };

// "minimal", "low", ... "max"; empty for any other name.
std::optional<ReasoningEffort> ReasoningEffortOf(std::string_view name);

struct ThinkingMode {
  bool on = true;
  std::optional<ReasoningEffort> effort;  // Empty: none asked for.

  bool operator==(const ThinkingMode&) const = default;
};

// The served model and the operator's choices, as far as requests depend on them.
struct ServedModel {
  std::vector<std::string> names;  // The first is used where a client names none.
  bool accept_any_name = false;
  std::string root;  // Where the weights come from, for /v1/models.
  std::int64_t created_unix_seconds = 0;
  std::int64_t context_length = 0;
  std::int32_t vocabulary_size = 0;
  std::vector<engine::Token> eos_token_ids;
  float default_temperature = 1.0f;
  float default_top_p = 1.0f;
  ThinkingMode default_thinking;
  std::optional<std::int64_t> max_tokens_cap;  // For clients that set no limit.
  bool send_reasoning_content = true;          // The keys that carry reasoning.
  bool send_reasoning = true;
  bool format_in_prompt = true;  // response_format's text goes into the prompt; else it is refused.
  std::string encoding_profile;  // The one in force, for /status.json.
  std::optional<std::string> system_fingerprint;

  bool Serves(std::string_view name) const;
};

// The fields that chat and text completions share.
struct CommonRequest {
  std::string model;                       // The name to answer with.
  std::optional<std::int64_t> max_tokens;  // >= 1; empty: as many as there is room for.
  engine::runtime::SamplingParams sampling;
  // Of the first answer; the next ones count on from it. Empty: any.
  std::optional<std::uint64_t> seed;
  std::int32_t n = 1;  // Answers to give.
  std::vector<std::string> stop;
  std::vector<engine::Token> stop_token_ids;
  bool include_stop_text = false;
  bool ignore_eos = false;
  bool skip_special_tokens = true;
  bool stream = false;
  bool include_usage = false;
  bool continuous_usage = false;
  bool return_token_ids = false;
  bool tokens_as_ids = false;  // Log-probabilities name tokens "token_id:N".
  std::int32_t priority = 0;
  bool reuse_prefix_cache = true;
  std::string cache_salt;
  std::string request_id;  // What the body calls it; empty where it does not, or not validly.
};

struct ToolCall {
  std::string id;
  std::string name;
  std::string arguments;  // JSON text as the client sent it; an object is printed.
};

struct ChatMessage {
  enum class Role { kSystem, kUser, kAssistant, kTool };
  Role role = Role::kUser;
  std::string content;
  std::string reasoning;             // kAssistant
  std::vector<ToolCall> tool_calls;  // kAssistant
  std::string tool_call_id;          // kTool
};

struct Tool {
  std::string name;
  std::string function;  // JSON text of the whole "function" object, keys in the client's order.
};

struct ChatRequest {
  CommonRequest common;
  std::vector<ChatMessage> messages;
  std::vector<Tool> tools;  // Those to render: empty with tool_choice "none".
  bool parallel_tool_calls = true;
  // The answer begins with a call, after its reasoning if it has one: of this function, or of any
  // that is offered where the name is empty.
  bool must_call = false;
  std::string must_call_name;
  std::optional<std::string> format;  // JSON text of what the answer must look like.
  ThinkingMode thinking;
  bool include_reasoning = true;
  bool logprobs = false;
  // The last message is an assistant's and is to be continued, not answered.
  bool continue_final_message = false;
  bool add_generation_prompt = true;
};

struct CompletionPrompt {
  std::string text;                   // Or
  std::vector<engine::Token> tokens;  // these, when not empty.
};

struct CompletionRequest {
  CommonRequest common;
  std::vector<CompletionPrompt> prompts;  // At least one; each has `n` answers.
  std::optional<std::string> suffix;      // What the answer leads to: the only prompt is a text.
  bool echo = false;
};

// Whether a client's id for its request can be echoed and logged.
bool IsRequestId(std::string_view id);

// `body` is the request's JSON. Unknown fields are ignored; fields that are known but not
// supported, and values outside their ranges, are errors that name the field.
OrError<ChatRequest> ParseChatRequest(std::string_view body, const ServedModel& model);
OrError<CompletionRequest> ParseCompletionRequest(std::string_view body, const ServedModel& model);

struct TokenizeRequest {
  std::optional<ChatRequest> chat;  // When it holds messages; else `text`.
  std::string text;
  bool llama_form = false;  // {"content"} asks for {"tokens"} only.
  bool return_token_texts = false;
};
OrError<TokenizeRequest> ParseTokenizeRequest(std::string_view body, const ServedModel& model);
OrError<std::vector<engine::Token>> ParseDetokenizeRequest(std::string_view body,
                                                           const ServedModel& model);

}  // namespace sparkspan::head::api
