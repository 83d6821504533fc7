#include "deploy/cli/bench_options.h"

#include <charconv>
#include <functional>
#include <map>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"

namespace sparkspan::deploy::cli {
namespace {

using Setter = std::function<absl::Status(std::string_view flag, std::string_view value)>;

constexpr int kRanksMax = 8;
constexpr int kThreadsMax = 256;
constexpr std::int64_t kCheckpointBytesMin = 1'000'000;
constexpr std::int64_t kLarge = std::int64_t{1} << 40;
constexpr std::int64_t kTokensMax = 8192;
constexpr std::int64_t kCountMax = 1'000'000;

// Sets `*out` to a whole number of the range.
template <typename Integer>
Setter IntegerOf(Integer* out, std::int64_t low, std::int64_t high) {
  return [=](std::string_view flag, std::string_view text) -> absl::Status {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < low || value > high) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s %s: give a whole number from %d to %d", flag, text, low, high));
    }
    *out = static_cast<Integer>(value);
    return absl::OkStatus();
  };
}

std::map<std::string_view, Setter> Flags(BenchOptions* options) {
  return {{"--bytes", IntegerOf(&options->checkpoint_bytes, kCheckpointBytesMin, kLarge)},
          {"--folder",
           [options](std::string_view flag, std::string_view text) -> absl::Status {
             if (text.empty()) {
               return absl::InvalidArgumentError(absl::StrFormat("%s: give a folder", flag));
             }
             options->folder = text;
             return absl::OkStatus();
           }},
          {"--threads", IntegerOf(&options->threads, 1, kThreadsMax)},
          {"--ranks", IntegerOf(&options->ranks, 1, kRanksMax)},
          {"--context", IntegerOf(&options->context, 1, kTokensMax)},
          {"--prefill", IntegerOf(&options->prefill, 1, kTokensMax)},
          {"--steps", IntegerOf(&options->steps, 1, kTokensMax)},
          {"--exchanges", IntegerOf(&options->exchanges, 1, kCountMax)},
          {"--buffer-bytes", IntegerOf(&options->buffer_bytes, std::int64_t{1} << 20, kLarge)},
          {"--seed", IntegerOf(&options->seed, 0, kLarge)}};
}

}  // namespace

const char* const kBenchUsage =
    R"(usage: sparkspan bench step [flags]

Times steps of a random checkpoint on this machine: decode and prefill, the part of a step outside
the model, exchanges between two ranks, and loading; and beside them, in the same run and with the
same threads, how fast memory can be read. Compare figures of one run only.

  --bytes N           weights of the checkpoint, at least, in bytes (2000000000)
  --folder DIR        where the checkpoint is written, or lies since an earlier run with the same
                      --bytes and --seed (a new one under TMPDIR or /var/tmp)
  --keep              leave the checkpoint there; one that was there before is never removed
  --threads N         threads of each rank, and of the reading of memory (2)
  --ranks N           ranks as threads of this process, 1 to 8 (1)
  --context N         tokens before the decoded ones (128)
  --prefill N         tokens of the prompt whose prefill is timed, in one step (512)
  --steps N           decode steps that are timed (64)
  --exchanges N       all-reduces that are timed for each size (200)
  --buffer-bytes N    memory to read, more than the caches hold (536870912)
  --seed N            of weights, prompts and sampling (1)
  --json              JSON instead of the table
)";

absl::StatusOr<BenchOptions> ParseBenchOptions(std::span<const std::string_view> args) {
  if (args.empty() || args[0] != "step") {
    return absl::InvalidArgumentError(absl::StrFormat("%s: give `step`, the one thing to measure",
                                                      args.empty() ? "nothing" : args[0]));
  }
  BenchOptions options;
  const std::map<std::string_view, Setter> flags = Flags(&options);
  const std::map<std::string_view, bool*> switches = {{"--keep", &options.keep},
                                                      {"--json", &options.json}};
  for (std::size_t i = 1; i < args.size(); ++i) {
    if (const auto found = switches.find(args[i]); found != switches.end()) {
      *found->second = true;
      continue;
    }
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
  return options;
}

}  // namespace sparkspan::deploy::cli
