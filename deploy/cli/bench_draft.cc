#include "deploy/cli/bench_draft.h"

#include <algorithm>
#include <memory>
#include <span>
#include <utility>

#include "absl/strings/str_format.h"
#include "deploy/cli/bench_cases.h"
#include "deploy/cli/draft_driver.h"
#include "engine/base/hash.h"
#include "engine/base/status.h"
#include "engine/draft/choose_drafter.h"

namespace sparkspan::deploy::cli {
namespace {

using engine::Token;
using engine::schedule::VerificationPolicy;

constexpr std::size_t kRandomPromptTokens = 32;

// Requests that no tokenizer is needed for.
std::vector<BenchClass> RandomClasses(const BenchDraftOptions& options, std::int64_t vocabulary) {
  BenchClass random{"random", {}};
  for (int i = 0; i < options.requests; ++i) {
    DraftBenchRequest& request = random.requests.emplace_back();
    for (std::size_t j = 0; j < kRandomPromptTokens; ++j) {
      const std::uint64_t draw = engine::CombineHash(
          engine::CombineHash(options.random.seed, static_cast<std::uint64_t>(i)), j);
      request.prompt.push_back(static_cast<Token>(draw % static_cast<std::uint64_t>(vocabulary)));
    }
    request.max_tokens = options.tokens;
  }
  return {std::move(random)};
}

double DecodeRate(const ServedFigures& figures) {
  return static_cast<double>(figures.decode_tokens) / figures.decode_seconds;
}

double WholeRate(const ServedFigures& figures) {
  return static_cast<double>(figures.tokens) / figures.seconds;
}

// The two clusters, and the texts that the one without drafts gave.
class Comparison {
 public:
  static absl::StatusOr<std::unique_ptr<Comparison>> Create(
      const BenchDraftOptions& options,
      std::shared_ptr<const engine::weights::Checkpoint> checkpoint,
      const std::vector<BenchClass>& classes) {
    auto made = std::unique_ptr<Comparison>(new Comparison());
    DraftDriverOptions driver;
    driver.ranks = options.ranks;
    driver.threads = options.threads;
    driver.sequences = options.sequences;
    std::size_t count = 0;
    for (const BenchClass& of : classes) {
      count += of.requests.size();
      for (const DraftBenchRequest& request : of.requests) {
        driver.length_max =
            std::max(driver.length_max,
                     static_cast<std::int64_t>(request.prompt.size()) + request.max_tokens);
      }
    }
    made->known_.resize(count);
    ASSIGN_OR_RETURN(made->plain_, DraftDriver::Create(checkpoint, driver));
    driver.drafts = true;
    driver.oracle = options.oracle ? &made->known_ : nullptr;
    ASSIGN_OR_RETURN(made->drafting_, DraftDriver::Create(checkpoint, driver));
    RETURN_IF_ERROR(made->drafting_->MeasureCosts());
    return made;
  }

  const engine::schedule::StepCosts& costs() const { return drafting_->costs(); }

  absl::StatusOr<ServedFigures> Plain(std::span<const DraftBenchRequest> requests,
                                      std::size_t first,
                                      int together) {
    ASSIGN_OR_RETURN(ServedFigures figures,
                     plain_->Serve(requests, first, together, VerificationPolicy::kNone));
    for (std::size_t i = 0; i < requests.size(); ++i) {
      std::vector<Token>& known = known_[first + i];
      known = requests[i].prompt;
      known.insert(known.end(), figures.texts[i].begin(), figures.texts[i].end());
    }
    return figures;
  }

  // After Plain, whose texts these must be.
  absl::StatusOr<ServedFigures> Drafted(std::span<const DraftBenchRequest> requests,
                                        std::size_t first,
                                        int together,
                                        VerificationPolicy policy) {
    ASSIGN_OR_RETURN(ServedFigures figures, drafting_->Serve(requests, first, together, policy));
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const std::vector<Token>& known = known_[first + i];
      if (!std::equal(figures.texts[i].begin(),
                      figures.texts[i].end(),
                      known.begin() + static_cast<std::ptrdiff_t>(requests[i].prompt.size()),
                      known.end())) {
        return absl::DataLossError(
            absl::StrFormat("request %d: the text with drafts (%s) is not the one without",
                            first + i,
                            ToString(policy)));
      }
    }
    return figures;
  }

 private:
  Comparison() = default;

  std::vector<std::vector<Token>> known_;  // outlives the drivers
  std::unique_ptr<DraftDriver> plain_;
  std::unique_ptr<DraftDriver> drafting_;
};

absl::StatusOr<DraftClassReport> TimeClass(Comparison& comparison,
                                           const BenchClass& of,
                                           std::size_t first) {
  ServedFigures plain;
  ServedFigures fixed;
  ServedFigures hardware;
  const auto add = [](const ServedFigures& one, ServedFigures* sum) {
    sum->decode_seconds += one.decode_seconds;
    sum->decode_tokens += one.decode_tokens;
    sum->decode_steps += one.decode_steps;
    sum->draft_ms += one.draft_ms * static_cast<double>(one.decode_steps);
    sum->verify_ms += one.verify_ms * static_cast<double>(one.decode_steps);
  };
  // Request by request, so that whatever else the machine does meets all of them.
  for (std::size_t i = 0; i < of.requests.size(); ++i) {
    const auto one = std::span(of.requests).subspan(i, 1);
    ASSIGN_OR_RETURN(const ServedFigures without, comparison.Plain(one, first + i, 1));
    ASSIGN_OR_RETURN(const ServedFigures all,
                     comparison.Drafted(one, first + i, 1, VerificationPolicy::kFixed));
    ASSIGN_OR_RETURN(const ServedFigures weighed,
                     comparison.Drafted(one, first + i, 1, VerificationPolicy::kHardware));
    add(without, &plain);
    add(all, &fixed);
    add(weighed, &hardware);
  }
  DraftClassReport report;
  report.name = of.name;
  report.requests = static_cast<int>(of.requests.size());
  report.plain_rate = DecodeRate(plain);
  report.fixed_rate = DecodeRate(fixed);
  report.hardware_rate = DecodeRate(hardware);
  const auto steps = static_cast<double>(fixed.decode_steps);
  report.acceptance_length = static_cast<double>(fixed.decode_tokens) / steps;
  report.plain_ms = plain.verify_ms / static_cast<double>(plain.decode_steps);
  report.verify_ms = fixed.verify_ms / steps;
  report.draft_ms = fixed.draft_ms / steps;
  return report;
}

absl::Status TimeSaturation(const BenchDraftOptions& options,
                            Comparison& comparison,
                            const std::vector<BenchClass>& classes,
                            DraftBenchReport* report) {
  std::vector<DraftBenchRequest> all;
  for (const BenchClass& of : classes) {
    all.insert(all.end(), of.requests.begin(), of.requests.end());
  }
  for (int i = 0; i < options.repeats; ++i) {
    ASSIGN_OR_RETURN(const ServedFigures plain, comparison.Plain(all, 0, options.sequences));
    ASSIGN_OR_RETURN(const ServedFigures fixed,
                     comparison.Drafted(all, 0, options.sequences, VerificationPolicy::kFixed));
    ASSIGN_OR_RETURN(const ServedFigures hardware,
                     comparison.Drafted(all, 0, options.sequences, VerificationPolicy::kHardware));
    report->plain_saturated.push_back(WholeRate(plain));
    report->fixed_saturated.push_back(WholeRate(fixed));
    report->hardware_saturated.push_back(WholeRate(hardware));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DraftBenchReport> TimeDrafting(const BenchDraftOptions& options,
                                              const std::filesystem::path& checkpoint) {
  ASSIGN_OR_RETURN(const auto opened, engine::weights::Checkpoint::Open(checkpoint));
  const engine::draft::DrafterKind kind = engine::draft::KindOf(opened->shape());
  if (kind == engine::draft::DrafterKind::kNone) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "--model-path %s: this checkpoint holds no draft stages (mtp.*)", checkpoint.string()));
  }
  std::vector<BenchClass> classes;
  if (options.cases.empty()) {
    classes = RandomClasses(options, opened->shape().vocabulary);
  } else {
    ASSIGN_OR_RETURN(classes,
                     ReadBenchCases(options.cases, *opened, options.requests, options.tokens));
  }
  ASSIGN_OR_RETURN(const auto comparison, Comparison::Create(options, opened, classes));
  DraftBenchReport report;
  report.drafter = std::string(ToString(kind));
  report.block = engine::draft::BlockOf(opened->shape(), kind);
  report.sequences = options.sequences;
  report.costs = comparison->costs();
  std::size_t first = 0;
  for (const BenchClass& of : classes) {
    ASSIGN_OR_RETURN(DraftClassReport timed, TimeClass(*comparison, of, first));
    report.classes.push_back(std::move(timed));
    first += of.requests.size();
  }
  RETURN_IF_ERROR(TimeSaturation(options, *comparison, classes, &report));
  return report;
}

}  // namespace sparkspan::deploy::cli
