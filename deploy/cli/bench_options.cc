#include "deploy/cli/bench_options.h"

#include "absl/strings/str_format.h"
#include "deploy/cli/flags.h"
#include "engine/base/status.h"

namespace sparkspan::deploy::cli {
namespace {

constexpr int kRanksMax = 8;
constexpr int kThreadsMax = 256;
constexpr std::int64_t kCheckpointBytesMin = 1'000'000;
constexpr std::int64_t kLarge = std::int64_t{1} << 40;
constexpr std::int64_t kTokensMax = 8192;
constexpr std::int64_t kCountMax = 1'000'000;

Flags FlagsOf(BenchOptions* options) {
  return {{"--bytes", IntegerFlag(&options->checkpoint_bytes, kCheckpointBytesMin, kLarge)},
          {"--folder", TextFlag(&options->folder)},
          {"--threads", IntegerFlag(&options->threads, 1, kThreadsMax)},
          {"--ranks", IntegerFlag(&options->ranks, 1, kRanksMax)},
          {"--context", IntegerFlag(&options->context, 1, kTokensMax)},
          {"--prefill", IntegerFlag(&options->prefill, 1, kTokensMax)},
          {"--steps", IntegerFlag(&options->steps, 1, kTokensMax)},
          {"--exchanges", IntegerFlag(&options->exchanges, 1, kCountMax)},
          {"--buffer-bytes", IntegerFlag(&options->buffer_bytes, std::int64_t{1} << 20, kLarge)},
          {"--seed", IntegerFlag(&options->seed, 0, kLarge)}};
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
    return absl::InvalidArgumentError(absl::StrFormat("%s: give `step` or `draft`, what to measure",
                                                      args.empty() ? "nothing" : args[0]));
  }
  BenchOptions options;
  RETURN_IF_ERROR(ParseFlags(
      args.subspan(1), FlagsOf(&options), {{"--keep", &options.keep}, {"--json", &options.json}}));
  return options;
}

}  // namespace sparkspan::deploy::cli
