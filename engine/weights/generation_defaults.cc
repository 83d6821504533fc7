#include "engine/weights/generation_defaults.h"

#include <optional>

#include "engine/base/status.h"
#include "engine/weights/json_object.h"

namespace sparkspan::engine::weights {
namespace {

constexpr std::size_t kEosIdsMax = 64;
constexpr double kTemperatureMax = 100.0;
// "No limit" is written as a number like 1e30.
constexpr double kLengthMax = 1e60;

// One id or a list of them.
absl::Status ReadEosIds(const JsonObject& object,
                        std::int64_t vocabulary,
                        std::vector<std::int64_t>* ids) {
  const std::string key = "eos_token_id";
  if (object.IsInteger(key)) {
    ids->resize(1);
    return object.Integer(key, 0, vocabulary - 1, &ids->front());
  }
  RETURN_IF_ERROR(object.Integers(key, kEosIdsMax, 0, vocabulary - 1, ids));
  return ids->empty() ? object.Refuse(key, "at least one token id") : absl::OkStatus();
}

absl::StatusOr<GenerationDefaults> DefaultsOf(const JsonObject& config,
                                              const std::optional<JsonObject>& generation,
                                              const std::optional<JsonObject>& tokenizer,
                                              const ModelShape& shape) {
  GenerationDefaults defaults;
  defaults.context_tokens_max = shape.positions_max;
  if (generation && generation->Has("eos_token_id")) {
    RETURN_IF_ERROR(ReadEosIds(*generation, shape.vocabulary, &defaults.eos_ids));
  } else {
    RETURN_IF_ERROR(ReadEosIds(config, shape.vocabulary, &defaults.eos_ids));
  }
  if (generation && generation->Has("do_sample")) {
    RETURN_IF_ERROR(generation->Boolean("do_sample", &defaults.sample));
  }
  if (generation && generation->Has("temperature")) {
    RETURN_IF_ERROR(generation->Number("temperature", 0.0, kTemperatureMax, &defaults.temperature));
  }
  if (generation && generation->Has("top_p")) {
    RETURN_IF_ERROR(generation->Number("top_p", 0.0, 1.0, &defaults.top_p));
  }
  if (tokenizer && tokenizer->Has("model_max_length")) {
    double length = 0.0;
    RETURN_IF_ERROR(tokenizer->Number("model_max_length", 1.0, kLengthMax, &length));
    if (length < static_cast<double>(defaults.context_tokens_max)) {
      defaults.context_tokens_max = static_cast<std::int64_t>(length);
    }
  }
  return defaults;
}

absl::StatusOr<std::optional<JsonObject>> ReadIfPresent(const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::exists(file, error)) {
    return std::optional<JsonObject>();
  }
  ASSIGN_OR_RETURN(JsonObject object, JsonObject::Read(file));
  return std::optional<JsonObject>(std::move(object));
}

absl::StatusOr<std::optional<JsonObject>> ParseIfPresent(const char* file, std::string_view text) {
  if (text.empty()) {
    return std::optional<JsonObject>();
  }
  ASSIGN_OR_RETURN(JsonObject object, JsonObject::Parse(file, text));
  return std::optional<JsonObject>(std::move(object));
}

}  // namespace

absl::StatusOr<GenerationDefaults> ReadGenerationDefaults(const std::filesystem::path& folder,
                                                          const ModelShape& shape) {
  ASSIGN_OR_RETURN(const JsonObject config, JsonObject::Read(folder / "config.json"));
  ASSIGN_OR_RETURN(const auto generation, ReadIfPresent(folder / "generation_config.json"));
  ASSIGN_OR_RETURN(const auto tokenizer, ReadIfPresent(folder / "tokenizer_config.json"));
  return DefaultsOf(config, generation, tokenizer, shape);
}

absl::StatusOr<GenerationDefaults> ParseGenerationDefaults(std::string_view config,
                                                           std::string_view generation,
                                                           std::string_view tokenizer,
                                                           const ModelShape& shape) {
  ASSIGN_OR_RETURN(const JsonObject parsed, JsonObject::Parse("config.json", config));
  ASSIGN_OR_RETURN(const auto generated, ParseIfPresent("generation_config.json", generation));
  ASSIGN_OR_RETURN(const auto tokenized, ParseIfPresent("tokenizer_config.json", tokenizer));
  return DefaultsOf(parsed, generated, tokenized, shape);
}

}  // namespace sparkspan::engine::weights
