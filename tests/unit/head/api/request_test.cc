#include "head/api/request.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace sparkspan::head::api {
namespace {

ServedModel TestModel() {
  ServedModel model;
  model.names = {"demo", "alias"};
  model.context_length = 1000;
  model.vocabulary_size = 300;
  model.eos_token_ids = {1};
  return model;
}

std::string ChatBody(const std::string& fields) {
  return R"({"messages":[{"role":"user","content":"hi"}])" + (fields.empty() ? "" : "," + fields) +
         "}";
}

struct BadField {
  std::string fields;
  std::string param;
  std::string code;
};

const std::string kInvalid = "invalid_value";
const std::string kUnsupported = "unsupported_parameter";

// Each row of the request table with values that must be refused, and the field that is named.
const std::vector<BadField> kBadFields = {
    {R"("model":"other")", "model", "model_not_found"},
    {R"("model":3)", "model", kInvalid},
    {R"("max_completion_tokens":0)", "max_completion_tokens", kInvalid},
    {R"("max_completion_tokens":"5")", "max_completion_tokens", kInvalid},
    {R"("max_tokens":0)", "max_tokens", kInvalid},
    {R"("max_tokens":-2)", "max_tokens", kInvalid},
    {R"("max_tokens":1.5)", "max_tokens", kInvalid},
    {R"("max_tokens":true)", "max_tokens", kInvalid},
    {R"("max_tokens":5,"min_tokens":6)", "min_tokens", kInvalid},
    {R"("min_tokens":-1)", "min_tokens", kInvalid},
    {R"("temperature":2.1)", "temperature", kInvalid},
    {R"("temperature":-0.1)", "temperature", kInvalid},
    {R"("temperature":"0")", "temperature", kInvalid},
    {R"("temperature":false)", "temperature", kInvalid},
    {R"("top_p":0)", "top_p", kInvalid},
    {R"("top_p":1.1)", "top_p", kInvalid},
    {R"("top_k":-2)", "top_k", kInvalid},
    {R"("min_p":1.01)", "min_p", kInvalid},
    {R"("frequency_penalty":2.5)", "frequency_penalty", kInvalid},
    {R"("frequency_penalty":"0")", "frequency_penalty", kInvalid},
    {R"("presence_penalty":-2.1)", "presence_penalty", kInvalid},
    {R"("repetition_penalty":0)", "repetition_penalty", kInvalid},
    {R"("repetition_penalty":1e-60)", "repetition_penalty", kInvalid},
    {R"("repetition_penalty":-1)", "repetition_penalty", kInvalid},
    {R"("repetition_penalty":1e7)", "repetition_penalty", kInvalid},
    {R"("logit_bias":[])", "logit_bias", kInvalid},
    {R"("logit_bias":{"300":1})", "logit_bias", kInvalid},
    {R"("logit_bias":{"-1":1})", "logit_bias", kInvalid},
    {R"("logit_bias":{"five":1})", "logit_bias", kInvalid},
    {R"("logit_bias":{"5.0":1})", "logit_bias", kInvalid},
    {R"("logit_bias":{"":1})", "logit_bias", kInvalid},
    {R"("logit_bias":{"5":1,"05":2})", "logit_bias", kInvalid},
    {R"("logit_bias":{"5":100.5})", "logit_bias.5", kInvalid},
    {R"("logit_bias":{"5":"1"})", "logit_bias.5", kInvalid},
    {R"("bad_words":["x"])", "bad_words", kUnsupported},
    {R"("allowed_token_ids":[])", "allowed_token_ids", kInvalid},
    {R"("allowed_token_ids":[300])", "allowed_token_ids", kInvalid},
    {R"("stop":"")", "stop", kInvalid},
    {R"("stop":["a",""])", "stop", kInvalid},
    {R"("stop":[1])", "stop", kInvalid},
    {R"("stop":["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"])",
     "stop",
     kInvalid},
    {R"("stop_token_ids":[300])", "stop_token_ids", kInvalid},
    {R"("stop_token_ids":[-1])", "stop_token_ids", kInvalid},
    {R"("include_stop_str_in_output":1)", "include_stop_str_in_output", kInvalid},
    {R"("ignore_eos":"yes")", "ignore_eos", kInvalid},
    {R"("skip_special_tokens":0)", "skip_special_tokens", kInvalid},
    {R"("seed":1.5)", "seed", kInvalid},
    {R"("seed":99999999999999999999)", "seed", kInvalid},
    {R"("n":0)", "n", kInvalid},
    {R"("n":129)", "n", kInvalid},
    {R"("n":"2")", "n", kInvalid},
    {R"("n":2,"temperature":0)", "n", kInvalid},
    {R"("n":2,"temperature":0.000001)", "n", kInvalid},
    {R"("best_of":2)", "best_of", kUnsupported},
    {R"("use_beam_search":true)", "use_beam_search", kUnsupported},
    {R"("stream":"true")", "stream", kInvalid},
    {R"("stream_options":{"include_usage":true})", "stream_options", kInvalid},
    {R"("stream":true,"stream_options":{"include_usage":1})",
     "stream_options.include_usage",
     kInvalid},
    {R"("logprobs":1)", "logprobs", kInvalid},
    {R"("top_logprobs":2)", "top_logprobs", kInvalid},
    {R"("logprobs":true,"top_logprobs":21)", "top_logprobs", kInvalid},
    {R"("prompt_logprobs":1)", "prompt_logprobs", kUnsupported},
    {R"("response_format":{"type":"structural_tag"})", "response_format", kUnsupported},
    {R"("response_format":{"type":"json_schema","json_schema":{"name":"n"}})",
     "response_format.json_schema.schema",
     "missing_required_parameter"},
    {R"("response_format":{"type":"json_schema","json_schema":{"schema":{},"strict":true}})",
     "response_format.json_schema.strict",
     kUnsupported},
    {R"("response_format":{"type":"json_schema"})", "response_format", kInvalid},
    {R"("response_format":{"type":"xml"})", "response_format.type", kInvalid},
    {R"("guided_json":{})", "guided_json", kUnsupported},
    {R"("structured_outputs":{"regex":"a"})", "structured_outputs", kUnsupported},
    {R"("tools":{})", "tools", kInvalid},
    {R"("tools":[{"type":"custom"}])", "tools.0.type", kUnsupported},
    {R"("tools":[{"type":"function"}])", "tools.0.function", "missing_required_parameter"},
    {R"("tools":[{"type":"function","function":{}}])",
     "tools.0.function.name",
     "missing_required_parameter"},
    {R"("tools":[{"type":"function","function":{"name":"a<b"}}])",
     "tools.0.function.name",
     kInvalid},
    {R"("tools":[{"type":"function","function":{"name":"a","strict":true}}])",
     "tools.0.function.strict",
     kUnsupported},
    {R"("tools":[{"type":"function","function":{"name":"a","parameters":1}}])",
     "tools.0.function.parameters",
     kInvalid},
    {R"("tools":[{"type":"function","function":{"name":"a"}},{"function":{"name":"a"}}])",
     "tools.1.function.name",
     kInvalid},
    {R"("tool_choice":"required")", "tool_choice", kInvalid},
    {R"("tool_choice":"sometimes")", "tool_choice", kInvalid},
    {R"("tools":[{"function":{"name":"a"}}],"tool_choice":)"
     R"({"type":"function","function":{"name":"b"}})",
     "tool_choice",
     kInvalid},
    {R"("parallel_tool_calls":0)", "parallel_tool_calls", kInvalid},
    {R"("reasoning_effort":"huge")", "reasoning_effort", kInvalid},
    {R"("reasoning_effort":3)", "reasoning_effort", kInvalid},
    {R"("thinking":{"type":"maybe"})", "thinking.type", kInvalid},
    {R"("chat_template_kwargs":[])", "chat_template_kwargs", kInvalid},
    {R"("chat_template_kwargs":{"thinking":1})", "chat_template_kwargs.thinking", kInvalid},
    {R"("thinking_token_budget":10)", "thinking_token_budget", kUnsupported},
    {R"("thinking_token_budget":1000000000)", "thinking_token_budget", kUnsupported},
    {R"("thinking_token_budget":-1)", "thinking_token_budget", kInvalid},
    {R"("request_id":5)", "request_id", kInvalid},
    {R"("include_reasoning":"no")", "include_reasoning", kInvalid},
    {R"("continue_final_message":true)", "continue_final_message", kInvalid},
    {R"("continue_final_message":true,"add_generation_prompt":true)",
     "continue_final_message",
     kInvalid},
    {R"("chat_template":"x")", "chat_template", kUnsupported},
    {R"("return_token_ids":1)", "return_token_ids", kInvalid},
    {R"("return_tokens_as_token_ids":1)", "return_tokens_as_token_ids", kInvalid},
    {R"("truncate_prompt_tokens":5)", "truncate_prompt_tokens", kUnsupported},
    {R"("cache_salt":"")", "cache_salt", kInvalid},
    {R"("cache_prompt":1)", "cache_prompt", kInvalid},
    {R"("priority":"high")", "priority", kInvalid},
    {R"("modalities":["audio"])", "modalities", kUnsupported},
    {R"("audio":{})", "audio", kUnsupported},
    {R"("functions":[])", "functions", kUnsupported},
    {R"("function_call":"auto")", "function_call", kUnsupported},
};

TEST(ChatRequestTest, RefusesBadValuesByName) {
  for (const BadField& bad : kBadFields) {
    const auto request = ParseChatRequest(ChatBody(bad.fields), TestModel());
    ASSERT_FALSE(request.ok()) << bad.fields;
    EXPECT_EQ(request.error().param, bad.param) << bad.fields;
    EXPECT_EQ(request.error().code, bad.code) << bad.fields;
    EXPECT_EQ(request.error().status, bad.code == "model_not_found" ? 404 : 400) << bad.fields;
    EXPECT_FALSE(request.error().message.empty()) << bad.fields;
  }
}

TEST(ChatRequestTest, AcceptsGoodValues) {
  const std::vector<std::string> cases = {
      "",
      R"("model":"alias")",
      R"("model":null)",
      R"("max_tokens":-1)",
      R"("max_tokens":5.0)",
      R"("max_completion_tokens":7,"max_tokens":3)",
      R"("temperature":0)",
      R"("temperature":2)",
      R"("top_k":-1)",
      R"("frequency_penalty":0,"presence_penalty":0.0,"repetition_penalty":1.0)",
      R"("frequency_penalty":-2,"presence_penalty":2,"repetition_penalty":0.5)",
      R"("logit_bias":{},"n":1,"best_of":1,"use_beam_search":false)",
      R"("logit_bias":{"0":-100,"299":100.0,"7":null},"n":128)",
      R"("n":1,"temperature":0)",
      R"("stop":["a","b"])",
      R"("stop":null)",
      R"("seed":-5)",
      R"("stream":true,"stream_options":{"include_usage":true})",
      R"("logprobs":true,"top_logprobs":20)",
      R"("logprobs":true)",
      R"("response_format":{"type":"text"})",
      R"("tools":[],"tool_choice":"auto")",
      R"("tools":null,"tool_choice":null)",
      R"("tools":[{"type":"function","function":{"name":"mcp.server/tool","parameters":{}}}])",
      R"("modalities":["text"],"user":"me","metadata":{},"store":true,"unheard_of":[1,{}])",
      R"("echo":true,"documents":[],"service_tier":"x","verbosity":"low")",
  };
  for (const std::string& fields : cases) {
    const auto request = ParseChatRequest(ChatBody(fields), TestModel());
    EXPECT_TRUE(request.ok()) << fields << ": " << (request.ok() ? "" : request.error().message);
  }
  EXPECT_EQ(ParseChatRequest(ChatBody(cases[5]), TestModel())->common.max_tokens, 7);
  EXPECT_EQ(ParseChatRequest(ChatBody(R"("model":"alias")"), TestModel())->common.model, "alias");
  EXPECT_EQ(ParseChatRequest(ChatBody(""), TestModel())->common.model, "demo");
}

TEST(ChatRequestTest, ReadsWhatChangesLogits) {
  const auto request = ParseChatRequest(
      ChatBody(R"("frequency_penalty":0.5,"presence_penalty":-1,"repetition_penalty":1.25,)"
               R"("logit_bias":{"299":-100,"7":2.5},"n":3)"),
      TestModel());
  ASSERT_TRUE(request.ok()) << request.error().message;
  const engine::runtime::SamplingParams& sampling = request->common.sampling;
  EXPECT_EQ(sampling.frequency_penalty, 0.5f);
  EXPECT_EQ(sampling.presence_penalty, -1.0f);
  EXPECT_EQ(sampling.repetition_penalty, 1.25f);
  EXPECT_EQ(sampling.logit_bias, (std::vector<engine::runtime::LogitBias>{{299, -100}, {7, 2.5f}}));
  EXPECT_EQ(request->common.n, 3);
}

TEST(ChatRequestTest, LimitsTheEntriesOfLogitBias) {
  ServedModel model = TestModel();
  model.vocabulary_size = 1000;
  for (const int entries : {300, 301}) {
    std::string bias;
    for (int token = 0; token < entries; ++token) {
      bias += (bias.empty() ? "\"" : ",\"") + std::to_string(token) + "\":1";
    }
    const auto request = ParseChatRequest(ChatBody("\"logit_bias\":{" + bias + "}"), model);
    EXPECT_EQ(request.ok(), entries == 300);
  }
}

TEST(ChatRequestTest, RefusesBadBodiesAndMessages) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", ""},
      {"[]", ""},
      {"{\"messages\":", ""},
      {"{\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}", ""},
      {std::string(300, '['), ""},
      {"{}", "messages"},
      {R"({"messages":[]})", "messages"},
      {R"({"messages":"hi"})", "messages"},
      {R"({"messages":[3]})", "messages.0"},
      {R"({"messages":[{"content":"x"}]})", "messages.0.role"},
      {R"({"messages":[{"role":"robot","content":"x"}]})", "messages.0.role"},
      {R"({"messages":[{"role":"function","content":"x"}]})", "messages.0.role"},
      {R"({"messages":[{"role":"user"}]})", "messages.0.content"},
      {R"({"messages":[{"role":"user","content":5}]})", "messages.0.content"},
      {R"({"messages":[{"role":"user","content":[{"type":"image_url"}]}]})",
       "messages.0.content.0"},
      {R"({"messages":[{"role":"user","content":[{"type":"text"}]}]})",
       "messages.0.content.0.text"},
      {R"({"messages":[{"role":"assistant","tool_calls":[{"function":{}}]}]})",
       "messages.0.tool_calls.0.function.name"},
      {R"({"messages":[{"role":"assistant","content":"x","function_call":{}}]})",
       "messages.0.function_call"},
  };
  for (const auto& [body, param] : cases) {
    const auto request = ParseChatRequest(body, TestModel());
    ASSERT_FALSE(request.ok()) << body;
    EXPECT_EQ(request.error().param, param) << body;
    EXPECT_EQ(request.error().status, 400) << body;
  }
}

TEST(ChatRequestTest, ReadsMessagesLeniently) {
  const auto request = ParseChatRequest(
      R"({"messages":[
        {"role":"developer","content":[{"type":"text","text":"a"},
                                       {"type":"input_text","text":"b"}]},
        {"role":"user","content":null,"name":"x"},
        {"role":"assistant","content":null,"reasoning":"old","reasoning_content":"new",
         "tool_calls":[{"id":"c1","function":{"name":"f",
                                              "arguments":{"b":1,"a":10000000000000000000000}}},
                       {"id":"c2","function":{"name":"g"}}]},
        {"role":"tool","tool_call_id":"c1",
         "content":[{"type":"image"},{"type":"text","text":"r"}]}]})",
      TestModel());
  ASSERT_TRUE(request.ok()) << request.error().message;
  ASSERT_EQ(request->messages.size(), 4u);
  EXPECT_EQ(request->messages[0].role, ChatMessage::Role::kSystem);
  EXPECT_EQ(request->messages[0].content, "a\n\nb");
  EXPECT_EQ(request->messages[2].reasoning, "new");
  EXPECT_EQ(request->messages[2].tool_calls[0].arguments,
            R"({"b": 1, "a": 10000000000000000000000})");
  EXPECT_EQ(request->messages[2].tool_calls[1].arguments, "{}");
  EXPECT_EQ(request->messages[3].content, "[Unsupported image]\n\nr");
  EXPECT_EQ(request->messages[3].tool_call_id, "c1");
}

TEST(ChatRequestTest, DecidesThinkingByPrecedence) {
  const ThinkingMode off = {false, std::nullopt};
  const ThinkingMode on = {true, std::nullopt};
  const ThinkingMode high = {true, ReasoningEffort::kHigh};
  const std::vector<std::pair<std::string, ThinkingMode>> cases = {
      {"", on},
      {R"("chat_template_kwargs":{"thinking":false})", off},
      {R"("chat_template_kwargs":{"thinking":"false"})", off},
      {R"("chat_template_kwargs":{"thinking":false,"enable_thinking":true})", on},
      {R"("chat_template_kwargs":{"enable_thinking":true},"thinking":{"type":"disabled"})", on},
      {R"("thinking":{"type":"disabled"},"reasoning_effort":"high")", off},
      {R"("thinking":{"type":"adaptive"})", on},
      {R"("enable_thinking":false)", off},
      {R"("think":false)", off},
      {R"("reasoning":{"enabled":false})", off},
      {R"("reasoning":{"effort":"HIGH"})", high},
      {R"("reasoning_effort":"none","thinking":{"type":"enabled"})", off},
      {R"("reasoning_effort":"No_Think")", off},
      {R"("reasoning_effort":"high")", high},
      {R"("reasoning_effort":"auto")", on},
      {R"("reasoning_effort":null)", on},
      {R"("chat_template_kwargs":{"reasoning_effort":"high"})", high},
      {R"("chat_template_kwargs":{"reasoning_effort":"low"},"reasoning_effort":"high")", high},
      {R"("thinking_token_budget":0)", off},
  };
  for (const auto& [fields, expected] : cases) {
    const auto request = ParseChatRequest(ChatBody(fields), TestModel());
    ASSERT_TRUE(request.ok()) << fields << request.error().message;
    EXPECT_EQ(request->thinking, expected) << fields;
  }
  ServedModel quiet = TestModel();
  quiet.default_thinking = off;
  EXPECT_EQ(ParseChatRequest(ChatBody(""), quiet)->thinking, off);
  EXPECT_EQ(ParseChatRequest(ChatBody(R"("reasoning_effort":"high")"), quiet)->thinking, high);
}

TEST(ChatRequestTest, NoToolsAreRenderedWhenNoneMayBeCalled) {
  const std::string tools = R"("tools":[{"function":{"name":"a","z":1,"b":[1.50]}},)"
                            R"({"function":{"name":"b"}}])";
  EXPECT_TRUE(
      ParseChatRequest(ChatBody(tools + R"(,"tool_choice":"none")"), TestModel())->tools.empty());
  const auto request = ParseChatRequest(ChatBody(tools), TestModel());
  ASSERT_EQ(request->tools.size(), 2u);
  EXPECT_EQ(request->tools[0].function, R"({"name": "a", "z": 1, "b": [1.50]})");
  const auto allowed =
      ParseChatRequest(ChatBody(tools + R"(,"tool_choice":{"type":"allowed_tools","allowed_tools":)"
                                        R"({"mode":"auto","tools":[{"function":{"name":"b"}}]}})"),
                       TestModel());
  ASSERT_TRUE(allowed.ok()) << allowed.error().message;
  ASSERT_EQ(allowed->tools.size(), 1u);
  EXPECT_EQ(allowed->tools[0].name, "b");
}

TEST(ChatRequestTest, ReadsWhichCallMustBeMade) {
  const auto read = [](const std::string& choice) {
    const std::string tools = R"("tools":[{"function":{"name":"a"}},{"function":{"name":"b"}}])";
    return ParseChatRequest(ChatBody(tools + ",\"tool_choice\":" + choice), TestModel());
  };
  const auto any = read("\"required\"");
  EXPECT_TRUE(any->must_call);
  EXPECT_EQ(any->must_call_name, "");
  const auto named = read(R"({"type":"function","function":{"name":"b"}})");
  EXPECT_TRUE(named->must_call);
  EXPECT_EQ(named->must_call_name, "b");
  EXPECT_EQ(named->tools.size(), 2u);
  const auto one_of = read(R"({"type":"allowed_tools","allowed_tools":{"mode":"required",)"
                           R"("tools":[{"function":{"name":"b"}}]}})");
  EXPECT_TRUE(one_of->must_call);
  EXPECT_EQ(one_of->tools.size(), 1u);
  EXPECT_FALSE(read("\"auto\"")->must_call);
  EXPECT_FALSE(read("\"none\"")->must_call);
  EXPECT_EQ(read(R"({"type":"function","function":{"name":"c"}})").error().param, "tool_choice");
}

// The first fault is the answer, however many there are.
TEST(ChatRequestTest, BoundsToolsAndNamesTheFirstDuplicate) {
  const auto tools = [](std::size_t count) {
    std::string list;
    for (std::size_t i = 0; i < count; ++i) {
      list += (i == 0 ? "" : ",") + std::string(R"({"function":{"name":"f)") +
              std::to_string(i % 2000) + "\"}}";
    }
    return ChatBody("\"tools\":[" + list + "]");
  };
  EXPECT_TRUE(ParseChatRequest(tools(2000), TestModel()).ok());
  EXPECT_EQ(ParseChatRequest(tools(2048), TestModel()).error().param, "tools.2000.function.name");
  const auto many = ParseChatRequest(tools(2049), TestModel());
  EXPECT_EQ(many.error().param, "tools");
  EXPECT_NE(many.error().message.find("2049"), std::string::npos);
}

std::string Ids(std::int32_t first, std::int32_t last) {
  std::string list;
  for (std::int32_t id = first; id <= last; ++id) {
    list += (id == first ? "" : ",") + std::to_string(id);
  }
  return "[" + list + "]";
}

TEST(ChatRequestTest, BoundsAndSortsTokenSets) {
  const auto request = ParseChatRequest(
      ChatBody(R"("stop_token_ids":[7,3,7],"allowed_token_ids":[9,8,9])"), TestModel());
  ASSERT_TRUE(request.ok()) << request.error().message;
  EXPECT_EQ(request->common.stop_token_ids, (std::vector<engine::Token>{3, 7}));
  EXPECT_EQ(request->common.sampling.allowed_tokens, (std::vector<engine::Token>{8, 9}));
  ServedModel large = TestModel();
  large.vocabulary_size = 1 << 20;
  EXPECT_TRUE(ParseChatRequest(ChatBody("\"stop_token_ids\":" + Ids(0, 1023)), large).ok());
  const auto many = ParseChatRequest(ChatBody("\"stop_token_ids\":" + Ids(0, 1024)), large);
  ASSERT_FALSE(many.ok());
  EXPECT_EQ(many.error().param, "stop_token_ids");
  EXPECT_NE(many.error().message.find("1025"), std::string::npos);
}

// EOS, token 1 here, cannot come before min_tokens either.
TEST(ChatRequestTest, RefusesWhatLeavesNoToken) {
  const auto param = [](const std::string& fields) {
    const auto request = ParseChatRequest(ChatBody(fields), TestModel());
    return request.ok() ? "" : request.error().param;
  };
  const std::string all_but_eos = "\"stop_token_ids\":[0," + Ids(2, 299).substr(1);
  EXPECT_EQ(param(all_but_eos), "");
  EXPECT_EQ(param(all_but_eos + ",\"min_tokens\":1"), "stop_token_ids");
  EXPECT_EQ(param(all_but_eos + ",\"min_tokens\":1,\"ignore_eos\":true"), "");
  EXPECT_EQ(param("\"stop_token_ids\":" + Ids(2, 299) + ",\"min_tokens\":1"), "");
  EXPECT_EQ(param(R"("allowed_token_ids":[1,5],"stop_token_ids":[5],"min_tokens":1)"),
            "stop_token_ids");
  EXPECT_EQ(param(R"("allowed_token_ids":[1,5],"stop_token_ids":[5])"), "");
}

TEST(ChatRequestTest, ReadsTheFormatOfTheAnswer) {
  const auto format = [](const std::string& value, bool in_prompt = true) {
    ServedModel model = TestModel();
    model.format_in_prompt = in_prompt;
    return ParseChatRequest(ChatBody("\"response_format\":" + value), model);
  };
  EXPECT_EQ(format(R"({"type":"text"})")->format, std::nullopt);
  EXPECT_EQ(format(R"({"type":"json_object"})")->format, R"({"type": "json_object"})");
  const std::string schema =
      R"({"type":"json_schema","json_schema":{"name":"n","schema":{"z":1,"a":[]}}})";
  EXPECT_EQ(format(schema)->format, R"({"z": 1, "a": []})");
  EXPECT_EQ(format(schema, false).error().code, kUnsupported);
  const std::string large(std::size_t{256} << 10, 'x');
  EXPECT_EQ(format(R"({"type":"json_schema","json_schema":{"schema":{"a":")" + large + "\"}}}")
                .error()
                .param,
            "response_format.json_schema.schema");
}

TEST(ChatRequestTest, TakesAnIdThatCanBeEchoed) {
  EXPECT_EQ(ParseChatRequest(ChatBody(R"("request_id":"job-7")"), TestModel())->common.request_id,
            "job-7");
  for (const char* id : {"", "two words", "\\u00e9"}) {
    EXPECT_EQ(ParseChatRequest(ChatBody("\"request_id\":\"" + std::string(id) + "\""), TestModel())
                  ->common.request_id,
              "")
        << id;
  }
}

TEST(CompletionRequestTest, ReadsPrompts) {
  const ServedModel model = TestModel();
  EXPECT_EQ(ParseCompletionRequest(R"({"prompt":"x"})", model)->common.max_tokens, 16);
  EXPECT_EQ(ParseCompletionRequest(R"({"prompt":["x"]})", model)->prompts[0].text, "x");
  EXPECT_EQ(ParseCompletionRequest(R"({"prompt":[1,2]})", model)->prompts[0].tokens,
            (std::vector<engine::Token>{1, 2}));
  const auto batch = ParseCompletionRequest(R"({"prompt":[[1,2],[3]]})", model);
  ASSERT_EQ(batch->prompts.size(), 2u);
  EXPECT_EQ(batch->prompts[1].tokens, (std::vector<engine::Token>{3}));
  EXPECT_EQ(ParseCompletionRequest(R"({"prompt":["a","b"]})", model)->prompts[1].text, "b");
  EXPECT_EQ(
      ParseCompletionRequest(R"({"prompt":"x","logprobs":3})", model)->common.sampling.top_logprobs,
      3);
  for (const char* body : {R"({})",
                           R"({"prompt":""})",
                           R"({"prompt":[]})",
                           R"({"prompt":[300]})",
                           R"({"prompt":[1,"x"]})",
                           R"({"prompt":3})"}) {
    const auto request = ParseCompletionRequest(body, model);
    ASSERT_FALSE(request.ok()) << body;
    EXPECT_EQ(request.error().param, "prompt") << body;
  }
  EXPECT_EQ(ParseCompletionRequest(R"({"prompt":["a",""]})", model).error().param, "prompt.1");
  std::string many = R"({"prompt":["x")";
  for (int i = 0; i < 128; ++i) {
    many += R"(,"x")";
  }
  EXPECT_EQ(ParseCompletionRequest(many + "]}", model).error().param, "prompt");
  EXPECT_EQ(ParseCompletionRequest(R"({"prompt":"x","suffix":"y"})", model)->suffix, "y");
  EXPECT_EQ(ParseCompletionRequest(R"({"prompt":[5],"suffix":"y"})", model).error().param,
            "suffix");
  EXPECT_EQ(ParseCompletionRequest(R"({"prompt":"x","logprobs":21})", model).error().param,
            "logprobs");
}

}  // namespace
}  // namespace sparkspan::head::api
