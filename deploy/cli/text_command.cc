#include "deploy/cli/text_command.h"

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "deploy/cli/text_cases.h"
#include "engine/base/status.h"
#include "engine/text/tokenizer.h"

namespace sparkspan::deploy::cli {
namespace {

constexpr std::string_view kUsage =
    "sparkspan text --model DIR CASES.json\n"
    "\n"
    "Prints one JSON line for each case of CASES.json, {\"cases\": [...]}: its id and what is\n"
    "computed for it. What a case holds says what that is:\n"
    "  text                ids, decoded_skip_special\n"
    "  ids, no text        text, deltas (what each token lets out), flush\n"
    "  messages            prompt, ids, prompt_tokens; or error\n"
    "  output              reasoning, content, tool_calls, finish_reason\n"
    "Results that a case already holds are not looked at. DIR needs tokenizer.json only.\n";

struct TextArguments {
  std::string model;
  std::string cases;
};

absl::StatusOr<TextArguments> ParseArguments(std::span<const std::string_view> args) {
  TextArguments parsed;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const std::string_view arg = args[i];
    if (arg == "--model" && i + 1 < args.size()) {
      parsed.model = args[++i];
    } else if (arg.starts_with("--model=")) {
      parsed.model = arg.substr(std::string_view("--model=").size());
    } else if (arg.starts_with("--")) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s is not a flag of text, or its value is missing", arg));
    } else if (parsed.cases.empty()) {
      parsed.cases = arg;
    } else {
      return absl::InvalidArgumentError(absl::StrFormat("%s: give one file of cases", arg));
    }
  }
  if (parsed.model.empty() || parsed.cases.empty()) {
    return absl::InvalidArgumentError(parsed.model.empty() ? "--model is missing"
                                                           : "the file of cases is missing");
  }
  return parsed;
}

absl::Status PrintResults(const TextArguments& args) {
  ASSIGN_OR_RETURN(const auto tokenizer, engine::text::Tokenizer::Load(args.model));
  std::ifstream stream(args.cases, std::ios::binary);
  const std::string json((std::istreambuf_iterator<char>(stream)), {});
  if (!stream.is_open() || stream.bad()) {
    return absl::NotFoundError(absl::StrFormat("cannot read %s", args.cases));
  }
  absl::StatusOr<std::vector<std::string>> lines = RunTextCases(*tokenizer, json);
  if (!lines.ok()) {
    return absl::Status(lines.status().code(),
                        absl::StrFormat("%s: %s", args.cases, lines.status().message()));
  }
  for (const std::string& line : *lines) {
    std::cout << line << '\n';
  }
  std::cout.flush();
  return std::cout.good() ? absl::OkStatus() : absl::UnavailableError("cannot write the results");
}

}  // namespace

int RunTextCommand(std::span<const std::string_view> args) {
  if (std::find(args.begin(), args.end(), "--help") != args.end()) {
    std::cout << kUsage;
    return 0;
  }
  const absl::StatusOr<TextArguments> parsed = ParseArguments(args);
  if (!parsed.ok()) {
    std::cerr << "text: " << parsed.status().message() << "\n\n" << kUsage;
    return 2;
  }
  const absl::Status status = PrintResults(*parsed);
  if (!status.ok()) {
    std::cerr << "text: " << status.message() << "\n";
    return 1;
  }
  return 0;
}

}  // namespace sparkspan::deploy::cli
