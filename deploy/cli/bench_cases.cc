#include "deploy/cli/bench_cases.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "deploy/cli/chat_case.h"
#include "engine/base/status.h"
#include "engine/text/json.h"
#include "engine/text/tokenizer.h"
#include "engine/weights/generation_defaults.h"

namespace sparkspan::deploy::cli {
namespace {

using engine::text::JsonValue;

constexpr std::size_t kFileBytesMax = std::size_t{64} << 20;

absl::StatusOr<JsonValue> ReadJson(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) {
    return absl::NotFoundError(absl::StrFormat("--cases %s: cannot be read", file.string()));
  }
  const std::string text((std::istreambuf_iterator<char>(stream)), {});
  if (text.size() > kFileBytesMax) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "--cases %s: %d bytes, at most %d are read", file.string(), text.size(), kFileBytesMax));
  }
  std::string error;
  std::optional<JsonValue> parsed = engine::text::ParseJson(text, {}, &error);
  if (!parsed.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--cases %s: not JSON: %s", file.string(), error));
  }
  return *std::move(parsed);
}

bool Thinks(const JsonValue& request) {
  const JsonValue* settings = request.Find("chat_template_kwargs");
  const JsonValue* thinking = settings == nullptr ? nullptr : settings->Find("thinking");
  return thinking == nullptr || thinking->boolean() == nullptr || *thinking->boolean();
}

// The request as a case of RenderChatCase.
JsonValue CaseOf(const JsonValue& request, bool thinks) {
  JsonValue::Object members = *request.object();
  members.emplace_back("thinking", JsonValue(std::string(thinks ? "enabled" : "disabled")));
  members.emplace_back("profile", JsonValue(std::string("preview")));
  members.emplace_back("source", JsonValue(std::string("project-rule")));
  return JsonValue(std::move(members));
}

BenchClass& ClassOf(std::vector<BenchClass>* classes, const std::string& name) {
  const auto found = std::find_if(
      classes->begin(), classes->end(), [&](const BenchClass& of) { return of.name == name; });
  return found != classes->end() ? *found : classes->emplace_back(BenchClass{name, {}});
}

}  // namespace

absl::StatusOr<std::vector<BenchClass>> ReadBenchCases(
    const std::filesystem::path& file,
    const engine::weights::Checkpoint& checkpoint,
    int requests,
    std::int64_t max_tokens) {
  ASSIGN_OR_RETURN(const JsonValue root, ReadJson(file));
  ASSIGN_OR_RETURN(const auto tokenizer,
                   engine::text::Tokenizer::Load(checkpoint.folder().string()));
  ASSIGN_OR_RETURN(
      const auto defaults,
      engine::weights::ReadGenerationDefaults(checkpoint.folder(), checkpoint.shape()));
  const JsonValue* cases = root.Find("cases");
  std::vector<BenchClass> classes;
  for (std::size_t i = 0; cases != nullptr && cases->array() && i < cases->array()->size(); ++i) {
    const JsonValue* task = (*cases->array())[i].Find("task");
    const JsonValue* request = (*cases->array())[i].Find("request");
    if (task == nullptr || task->string() == nullptr || request == nullptr ||
        request->object() == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrFormat("--cases %s: cases[%d] needs a task and a request", file.string(), i));
    }
    const bool thinks = Thinks(*request);
    BenchClass& of = ClassOf(&classes, *task->string() + (thinks ? ", thinking" : ""));
    if (of.requests.size() == static_cast<std::size_t>(requests)) {
      continue;
    }
    ASSIGN_OR_RETURN(const std::string prompt, RenderChatCase(CaseOf(*request, thinks)));
    DraftBenchRequest& made = of.requests.emplace_back();
    ASSIGN_OR_RETURN(made.prompt, tokenizer->Encode(prompt));
    made.max_tokens = max_tokens;
    made.end_tokens.assign(defaults.eos_ids.begin(), defaults.eos_ids.end());
  }
  if (classes.empty()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--cases %s: it holds no cases", file.string()));
  }
  return classes;
}

}  // namespace sparkspan::deploy::cli
