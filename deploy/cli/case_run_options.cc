#include "deploy/cli/case_run_options.h"

#include <utility>

#include "absl/strings/str_format.h"

namespace sparkspan::deploy::cli {
namespace {

constexpr std::int64_t kRanksMax = 64;
constexpr std::int64_t kThreadsMax = 256;
constexpr std::int64_t kChunkMax = 1 << 24;

}  // namespace

Flags CaseRunFlags(CaseRunOptions* options) {
  using engine::model::Device;
  using kernels::numerics::NumericsProfile;
  return {
      {"--model", TextFlag(&options->model)},
      {"--input", TextFlag(&options->input)},
      {"--output", TextFlag(&options->output)},
      {"--ranks", IntegerFlag(&options->ranks, 1, kRanksMax)},
      {"--threads", IntegerFlag(&options->engine.threads, 1, kThreadsMax)},
      {"--chunk", IntegerFlag(&options->chunk, 1, kChunkMax)},
      {"--numerics",
       ChoiceFlag<NumericsProfile>(&options->engine.numerics,
                                   {{"unquantised", kernels::numerics::kUnquantised},
                                    {"quantised", kernels::numerics::kQuantised}})},
      {"--experts", ChoiceFlag<bool>(&options->experts_whole, {{"split", false}, {"whole", true}})},
      {"--device",
       ChoiceFlag<Device>(&options->engine.device,
                          {{"cpu", Device::kCpu}, {"reference", Device::kReference}})}};
}

absl::Status CheckCaseRun(const CaseRunOptions& options) {
  for (const auto& [flag, value] : {std::pair{"--model", &options.model},
                                    {"--input", &options.input},
                                    {"--output", &options.output}}) {
    if (value->empty()) {
      return absl::InvalidArgumentError(absl::StrFormat("%s is missing", flag));
    }
  }
  return absl::OkStatus();
}

}  // namespace sparkspan::deploy::cli
