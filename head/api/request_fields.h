#pragma once

#include <optional>
#include <string_view>

#include "head/api/field_reader.h"
#include "head/api/json.h"
#include "head/api/request.h"

// Parts of request parsing. Each reads its fields from the root object and reports faults to
// `fields`.
namespace sparkspan::head::api {

// A JSON object, or the error to answer.
OrError<JsonValue> ParseRequestBody(std::string_view body);

void ReadCommon(FieldReader* fields, const ServedModel& model, CommonRequest* common);

// The precedence: chat_template_kwargs, then the top-level switches, then the effort, then the
// server's default.
ThinkingMode ReadThinking(FieldReader* fields, const ServedModel& model);

void ReadMessages(FieldReader* fields, ChatRequest* request);
void ReadTools(FieldReader* fields, ChatRequest* request);

}  // namespace sparkspan::head::api
