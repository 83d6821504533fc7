#include "deploy/cli/bench_draft_options.h"

#include "deploy/cli/flags.h"
#include "engine/base/status.h"

namespace sparkspan::deploy::cli {
namespace {

constexpr std::int64_t kLarge = std::int64_t{1} << 40;

Flags FlagsOf(BenchDraftOptions* options) {
  return {{"--model-path", TextFlag(&options->model)},
          {"--cases", TextFlag(&options->cases)},
          {"--bytes", IntegerFlag(&options->random.checkpoint_bytes, 1'000'000, kLarge)},
          {"--folder", TextFlag(&options->random.folder)},
          {"--requests", IntegerFlag(&options->requests, 1, 1000)},
          {"--tokens", IntegerFlag(&options->tokens, 8, 8192)},
          {"--sequences", IntegerFlag(&options->sequences, 1, 256)},
          {"--repeats", IntegerFlag(&options->repeats, 1, 100)},
          {"--ranks", IntegerFlag(&options->ranks, 1, 8)},
          {"--threads", IntegerFlag(&options->threads, 1, 256)},
          {"--seed", IntegerFlag(&options->random.seed, 0, kLarge)}};
}

}  // namespace

const char* const kBenchDraftUsage =
    R"(usage: sparkspan bench draft --model-path DIR --cases FILE [flags]
       sparkspan bench draft --oracle [--bytes N] [--folder DIR] [flags]

What drafting is worth on this machine, in one run: tokens per second without drafts, with all of
them verified, and with as many as steps are measured to be worth, for each class of requests alone
and for all together; acceptance length; milliseconds of plain, verifying and drafting steps; and
how much of the speed-up that these promise is there. Greedy. Compare figures of one run only.

  --model-path DIR    a checkpoint with draft stages; without, a random one
  --cases FILE        chat requests by class, in the form of deploy/demo/evaluation.json
  --oracle            drafts are the very text that plain decoding gives: all are accepted
  --requests N        of each class (8)
  --tokens N          of an answer, at most (96)
  --sequences N       at once, at saturation (8)
  --repeats N         of the run at saturation (3)
  --threads N         threads of each rank (2)
  --ranks N           ranks as threads of this process, 1 to 8 (1)
  --bytes N, --folder DIR, --keep, --seed N
                      of the random checkpoint, as in `bench step`
  --json              JSON instead of the table
)";

absl::StatusOr<BenchDraftOptions> ParseBenchDraftOptions(std::span<const std::string_view> args) {
  BenchDraftOptions options;
  RETURN_IF_ERROR(ParseFlags(args,
                             FlagsOf(&options),
                             {{"--keep", &options.random.keep},
                              {"--oracle", &options.oracle},
                              {"--json", &options.json}}));
  if (options.model.empty() != options.cases.empty()) {
    return absl::InvalidArgumentError(
        "--model-path and --cases: give both, or none of them for a random checkpoint");
  }
  options.random.draft_stages = 1;
  return options;
}

}  // namespace sparkspan::deploy::cli
