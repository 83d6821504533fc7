#include "deploy/cli/serve_options.h"

#include "deploy/cli/flags.h"
#include "engine/base/status.h"

namespace sparkspan::deploy::cli {
namespace {

using engine::config::LocalCluster;

constexpr int kRanksMax = 8;
constexpr std::int64_t kTokensMax = 1 << 24;
constexpr std::int64_t kLarge = std::int64_t{1} << 40;

Flags FlagsOf(ServeOptions* options, std::int32_t* threads) {
  using engine::config::Draft;
  using engine::config::EncodingProfile;
  using engine::config::Experts;
  using engine::config::Numerics;
  using engine::config::ReasoningField;
  using engine::config::Verification;
  LocalCluster& cluster = options->cluster;
  engine::config::Limits& limits = cluster.limits;
  std::int64_t* kv_tokens = &limits.kv_tokens.emplace(0);
  return {{"--model-path", TextFlag(&cluster.model.path)},
          {"--ranks", IntegerFlag(&options->ranks, 1, kRanksMax)},
          {"--threads", IntegerFlag(threads, 1, 256)},
          {"--host", TextFlag(&cluster.api.address)},
          {"--port", IntegerFlag(&cluster.api.port, 1, 65'535)},
          {"--max-model-len",
           IntegerFlag(&limits.context_length, 1, kLarge, &options->has_context_length)},
          {"--max-num-seqs", IntegerFlag(&limits.sequences, 1, 4096)},
          {"--max-num-batched-tokens", IntegerFlag(&limits.step_rows, 1, 65'536)},
          {"--max-waiting-requests", IntegerFlag(&limits.waiting_requests, 0, 1'000'000)},
          {"--kv-tokens", IntegerFlag(kv_tokens, 256, kLarge, &options->has_kv_tokens)},
          {"--memory-reserve-bytes", IntegerFlag(&limits.memory_reserve_bytes, 0, kLarge)},
          {"--served-model-name",
           [&cluster](std::string_view, std::string_view text) {
             cluster.model.served_names.emplace_back(text);
             return absl::OkStatus();
           }},
          {"--numerics",
           ChoiceFlag<Numerics>(
               &cluster.numerics,
               {{"quantised", Numerics::kQuantised}, {"unquantised", Numerics::kUnquantised}})},
          {"--experts",
           ChoiceFlag<Experts>(&cluster.experts,
                               {{"split", Experts::kSplit}, {"whole", Experts::kWhole}})},
          {"--draft",
           ChoiceFlag<Draft>(&cluster.draft,
                             {{"auto", Draft::kAuto},
                              {"none", Draft::kNone},
                              {"dspark", Draft::kDspark},
                              {"mtp", Draft::kMtp}})},
          {"--verification",
           ChoiceFlag<Verification>(&cluster.verification,
                                    {{"hardware", Verification::kHardware},
                                     {"fixed", Verification::kFixed},
                                     {"threshold", Verification::kThreshold},
                                     {"none", Verification::kNone}})},
          {"--verification-threshold-percent",
           IntegerFlag(&cluster.verification_threshold_percent, 0, 100)},
          {"--encoding-profile",
           ChoiceFlag<EncodingProfile>(&cluster.model.encoding_profile,
                                       {{"auto", EncodingProfile::kAuto},
                                        {"preview", EncodingProfile::kPreview},
                                        {"0731", EncodingProfile::k0731}})},
          {"--default-thinking", TextFlag(&cluster.model.default_thinking)},
          {"--api-keys-file", TextFlag(&cluster.api.keys_file)},
          {"--accept-any-model-name",
           ChoiceFlag<bool>(&cluster.api.accept_any_model_name, {{"yes", true}, {"no", false}})},
          {"--max-tokens-cap",
           [&cluster](std::string_view flag, std::string_view text) {
             std::int64_t tokens = 0;
             RETURN_IF_ERROR(IntegerFlag(&tokens, 1, kTokensMax)(flag, text));
             cluster.api.max_tokens_cap = tokens;
             return absl::OkStatus();
           }},
          {"--reasoning-field",
           ChoiceFlag<ReasoningField>(&cluster.api.reasoning_field,
                                      {{"both", ReasoningField::kBoth},
                                       {"reasoning_content", ReasoningField::kReasoningContent},
                                       {"reasoning", ReasoningField::kReasoning},
                                       {"none", ReasoningField::kNone}})}};
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
  --max-num-batched-tokens N    tokens of one step (512)
  --max-waiting-requests N      requests that may wait; more are refused with 429 (64)
  --kv-tokens N                 tokens that the KV cache holds, all sequences together (enough for
                                all of them at full length)
  --memory-reserve-bytes N      memory to leave free (1 GiB)
  --numerics PROFILE            quantised or unquantised (quantised)
  --experts WAY                 split every expert over the workers, or deal whole ones (split)
  --draft KIND                  auto, none, dspark or mtp: who drafts tokens (auto: what the
                                checkpoint holds)
  --verification POLICY         hardware, fixed, threshold or none: how many drafts a step verifies
                                (hardware: as many as the measured cost of a step says)
  --verification-threshold-percent N
                                for threshold: the chance that a draft must have to be right (30)
  --encoding-profile PROFILE    auto, preview or 0731, the checkpoint's release (auto: what its
                                encoding/ says, 0731 without it)
  --default-thinking MODE       on, off or an effort, where a request does not say (on)
  --api-keys-file FILE          one key a line; without it no key is asked for
  --accept-any-model-name WHAT  yes or no: answer requests that name another model (no: 404)
  --max-tokens-cap N            tokens of an answer whose request sets no limit (what fits)
  --reasoning-field FIELDS      both, reasoning_content, reasoning or none: what carries reasoning
                                (both)
)";

absl::StatusOr<ServeOptions> ParseServeOptions(std::span<const std::string_view> args) {
  ServeOptions options;
  options.cluster.limits.memory_reserve_bytes = std::int64_t{1} << 30;
  options.cluster.limits.step_rows = 512;
  std::int32_t threads = 1;
  RETURN_IF_ERROR(ParseFlags(args, FlagsOf(&options, &threads)));
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
