#include "deploy/cli/serve_options.h"

#include <charconv>
#include <functional>
#include <map>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"

namespace sparkspan::deploy::cli {
namespace {

using engine::config::LocalCluster;
using Setter = std::function<absl::Status(std::string_view flag, std::string_view value)>;

constexpr int kRanksMax = 8;
constexpr std::int64_t kLarge = std::int64_t{1} << 40;

absl::StatusOr<std::int64_t> ParseInteger(std::string_view flag,
                                          std::string_view text,
                                          std::int64_t low,
                                          std::int64_t high) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > high) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s %s: give a whole number from %d to %d", flag, text, low, high));
  }
  return value;
}

// Sets `*out` to a whole number of the range.
template <typename Integer>
Setter IntegerOf(Integer* out, std::int64_t low, std::int64_t high, bool* is_given = nullptr) {
  return [=](std::string_view flag, std::string_view text) -> absl::Status {
    ASSIGN_OR_RETURN(const std::int64_t value, ParseInteger(flag, text, low, high));
    *out = static_cast<Integer>(value);
    if (is_given != nullptr) {
      *is_given = true;
    }
    return absl::OkStatus();
  };
}

Setter TextOf(std::string* out) {
  return [=](std::string_view, std::string_view text) {
    *out = text;
    return absl::OkStatus();
  };
}

template <typename Choice>
Setter ChoiceOf(Choice* out, std::map<std::string_view, Choice> choices) {
  return [out, choices = std::move(choices)](std::string_view flag,
                                             std::string_view text) -> absl::Status {
    const auto found = choices.find(text);
    if (found == choices.end()) {
      std::string names;
      for (const auto& [name, choice] : choices) {
        names += (names.empty() ? "" : " or ") + std::string(name);
      }
      return absl::InvalidArgumentError(absl::StrFormat("%s %s: give %s", flag, text, names));
    }
    *out = found->second;
    return absl::OkStatus();
  };
}

std::map<std::string_view, Setter> Flags(ServeOptions* options, std::int32_t* threads) {
  using engine::config::EncodingProfile;
  using engine::config::Experts;
  using engine::config::Numerics;
  LocalCluster& cluster = options->cluster;
  engine::config::Limits& limits = cluster.limits;
  std::int64_t* kv_tokens = &limits.kv_tokens.emplace(0);
  return {{"--model-path", TextOf(&cluster.model.path)},
          {"--ranks", IntegerOf(&options->ranks, 1, kRanksMax)},
          {"--threads", IntegerOf(threads, 1, 256)},
          {"--host", TextOf(&cluster.api_address)},
          {"--port", IntegerOf(&cluster.api_port, 1, 65'535)},
          {"--max-model-len",
           IntegerOf(&limits.context_length, 1, kLarge, &options->has_context_length)},
          {"--max-num-seqs", IntegerOf(&limits.sequences, 1, 4096)},
          {"--max-num-batched-tokens", IntegerOf(&limits.step_rows, 1, 65'536)},
          {"--max-waiting-requests", IntegerOf(&limits.waiting_requests, 0, 1'000'000)},
          {"--kv-tokens", IntegerOf(kv_tokens, 256, kLarge, &options->has_kv_tokens)},
          {"--memory-reserve-bytes", IntegerOf(&limits.memory_reserve_bytes, 0, kLarge)},
          {"--served-model-name",
           [&cluster](std::string_view, std::string_view text) {
             cluster.model.served_names.emplace_back(text);
             return absl::OkStatus();
           }},
          {"--numerics",
           ChoiceOf<Numerics>(
               &cluster.numerics,
               {{"quantised", Numerics::kQuantised}, {"unquantised", Numerics::kUnquantised}})},
          {"--experts",
           ChoiceOf<Experts>(&cluster.experts,
                             {{"split", Experts::kSplit}, {"whole", Experts::kWhole}})},
          {"--encoding-profile",
           ChoiceOf<EncodingProfile>(
               &cluster.model.encoding_profile,
               {{"preview", EncodingProfile::kPreview}, {"0731", EncodingProfile::k0731}})},
          {"--default-thinking", TextOf(&cluster.model.default_thinking)},
          {"--api-keys-file", TextOf(&cluster.keys_file)}};
}

}  // namespace

const char* const kServeUsage =
    R"(usage: sparkspan serve --model-path DIR [flags]

Serves a published checkpoint folder on this machine: a head and local workers, started together
and stopped together. SIGINT or SIGTERM ends running requests, then stops; a second one stops now.

  --model-path DIR              the checkpoint's folder
  --ranks N                     workers, 1 to 8 (1)
  --threads N                   threads of each worker (1)
  --host ADDRESS                numeric address that the API binds to, and no other (127.0.0.1)
  --port P                      the API's port (8000)
  --served-model-name S         name that clients use; may be repeated (the folder's name)
  --max-model-len L             tokens of a sequence, prompt and answer (the checkpoint's, at most
                                32768)
  --max-num-seqs N              sequences at the same time (8)
  --max-num-batched-tokens N    tokens of one step (2048)
  --max-waiting-requests N      requests that may wait; more are refused with 429 (64)
  --kv-tokens N                 tokens that the KV cache holds, all sequences together (enough for
                                all of them at full length)
  --memory-reserve-bytes N      memory to leave free (1 GiB)
  --numerics PROFILE            quantised or unquantised (quantised)
  --experts WAY                 split every expert over the workers, or deal whole ones (split)
  --encoding-profile PROFILE    preview or 0731, the checkpoint's release (preview)
  --default-thinking MODE       on, off or an effort, where a request does not say (on)
  --api-keys-file FILE          one key a line; without it no key is asked for
)";

absl::StatusOr<ServeOptions> ParseServeOptions(std::span<const std::string_view> args) {
  ServeOptions options;
  options.cluster.limits.memory_reserve_bytes = std::int64_t{1} << 30;
  std::int32_t threads = 1;
  const std::map<std::string_view, Setter> flags = Flags(&options, &threads);
  for (std::size_t i = 0; i < args.size(); ++i) {
    const std::size_t equals = args[i].find('=');
    const std::string_view flag = args[i].substr(0, equals);
    const auto setter = flags.find(flag);
    if (setter == flags.end()) {
      return absl::InvalidArgumentError(absl::StrFormat("there is no flag %s", flag));
    }
    std::string_view value;
    if (equals != std::string_view::npos) {
      value = args[i].substr(equals + 1);
    } else if (i + 1 < args.size()) {
      value = args[++i];
    } else {
      return absl::InvalidArgumentError(absl::StrFormat("%s needs a value", flag));
    }
    RETURN_IF_ERROR(setter->second(flag, value));
  }
  if (options.cluster.model.path.empty()) {
    return absl::InvalidArgumentError("--model-path is missing: name a checkpoint's folder");
  }
  options.cluster.devices.assign(static_cast<std::size_t>(options.ranks), {});
  for (engine::config::Device& device : options.cluster.devices) {
    device.cpu_threads = threads;
  }
  return options;
}

}  // namespace sparkspan::deploy::cli
