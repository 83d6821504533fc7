#include "engine/text/chat_texts.h"

#include "absl/strings/str_format.h"

// The wording is the encoder's, to the byte: what the model was trained on.
namespace sparkspan::engine::text {
namespace {

constexpr std::string_view kEffortA =
    "Reasoning Effort: Absolute maximum with no shortcuts permitted.\n"
    "You MUST be very thorough in your thinking and comprehensively decompose the problem to "
    "resolve the root cause, rigorously stress-testing your logic against all potential "
    "paths, edge cases, and adversarial scenarios.\n"
    "Explicitly write out your entire deliberation process, documenting every intermediate "
    "step, considered alternative, and rejected hypothesis to ensure absolutely no assumption"
    " is left unchecked.\n\n";

constexpr std::string_view kEffortB =
    "Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.\n"
    "You MUST reason with the utmost depth and rigor, leaving absolutely nothing to chance: "
    "exhaustively decompose the problem into its most fundamental components, trace every "
    "causal chain to its root, and resolve the underlying cause rather than any surface "
    "symptom.\n"
    "Do not stop reasoning until you have independently verified the solution from multiple "
    "angles and are certain that no assumption remains unchecked and no error remains "
    "undiscovered.\n\n";

constexpr std::string_view kToolsBefore =
    "## Tools\n\n"
    "You have access to a set of tools to help answer the user's question. You can "
    "invoke tools by writing a \"<｜DSML｜tool_calls>\" block like the following:\n\n"
    "<｜DSML｜tool_calls>\n"
    "<｜DSML｜invoke name=\"$TOOL_NAME\">\n"
    "<｜DSML｜parameter name=\"$PARAMETER_NAME\" "
    "string=\"true|false\">$PARAMETER_VALUE</｜DSML｜parameter>\n"
    "...\n"
    "</｜DSML｜invoke>\n"
    "<｜DSML｜invoke name=\"$TOOL_NAME2\">\n"
    "...\n"
    "</｜DSML｜invoke>\n"
    "</｜DSML｜tool_calls>\n\n"
    "String parameters should be specified as is and set `string=\"true\"`. For all "
    "other types (numbers, booleans, arrays, objects), pass the value in JSON format "
    "and set `string=\"false\"`.\n\n"
    "If thinking_mode is enabled (triggered by <think>), you MUST output your "
    "complete reasoning inside <think>...</think> BEFORE any tool calls or final "
    "response.\n\n"
    "Otherwise, output directly after </think> with tool calls or final response.\n\n"
    "### Available Tool Schemas\n\n";

constexpr std::string_view kToolsAfter =
    "\n\n"
    "You MUST strictly follow the above defined tool name and parameter schemas to "
    "invoke tool calls.\n";

}  // namespace

absl::StatusOr<std::string_view> EffortText(EncodingProfile profile, EncodedEffort effort) {
  const bool is_preview = profile == EncodingProfile::kPreview;
  switch (effort) {
    case EncodedEffort::kNone:
      return "";
    case EncodedEffort::kLow:
      if (is_preview) {
        return absl::InvalidArgumentError(
            "reasoning effort low is not known to the preview's encoding; use none, high or max");
      }
      return "";
    case EncodedEffort::kHigh:
      return is_preview ? "" : kEffortA;
    case EncodedEffort::kMax:
      return is_preview ? kEffortA : kEffortB;
  }
  return absl::InvalidArgumentError("an unknown reasoning effort");
}

std::string ToolsText(std::string_view schemas) {
  return absl::StrFormat("%s%s%s", kToolsBefore, schemas, kToolsAfter);
}

std::string FormatText(std::string_view schema) {
  return absl::StrFormat(
      "## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n%s",
      schema);
}

}  // namespace sparkspan::engine::text
