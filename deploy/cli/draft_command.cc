#include "deploy/cli/draft_command.h"

#include <algorithm>
#include <iostream>
#include <map>
#include <numeric>

#include "absl/strings/str_format.h"
#include "deploy/cli/draft_options.h"
#include "deploy/cli/tensor_file.h"
#include "engine/base/status.h"
#include "engine/collective/local_communicator.h"
#include "engine/draft/make_drafter.h"
#include "engine/model/bind_weights.h"
#include "engine/weights/checkpoint.h"
#include "engine/weights/rank_weights.h"

namespace sparkspan::deploy::cli {
namespace {

using engine::Token;
using engine::draft::Drafter;
using engine::model::Model;

std::size_t Size(std::int64_t value) {
  return static_cast<std::size_t>(value);
}

struct Results {
  std::map<std::string, F32Tensor> values;
  std::map<std::string, I32Tensor> ids;
};

// One case as one rank runs it.
class CaseRun {
 public:
  CaseRun(const DraftCase& item, Model& model, Drafter& drafter)
      : item_(item), model_(model), drafter_(drafter), draft_state_(Size(drafter.state_bytes())) {}

  absl::Status Run(std::int64_t chunk) {
    const std::int64_t last = item_.prompt_length + item_.steps - 1;
    const std::int32_t blocks = engine::cache::KvPool::BlocksFor(last);
    ASSIGN_OR_RETURN(pool_, engine::cache::KvPool::Create(model_.cache_layout(), blocks));
    state_ = std::make_unique<engine::cache::SequenceState>(model_.cache_layout());
    table_.resize(Size(blocks));
    std::iota(table_.begin(), table_.end(), 0);
    for (std::int64_t begin = 0; begin < item_.prompt_length;) {
      const std::int64_t left = item_.prompt_length - begin;
      const std::int64_t rows = chunk == 0 ? left : std::min(chunk, left);
      RETURN_IF_ERROR(RunRows(begin, rows));
      begin += rows;
    }
    RETURN_IF_ERROR(Draft(item_.prompt_length));
    for (std::int64_t position = item_.prompt_length; position < last; ++position) {
      RETURN_IF_ERROR(RunRows(position, 1));
      RETURN_IF_ERROR(Draft(position + 1));
    }
    return absl::OkStatus();
  }

  void Store(Results* results) {
    const std::int64_t vocabulary = model_.parts().vocabulary;
    const std::int64_t block = drafter_.block();
    results->values[item_.name + ".target_logits"] = {{item_.steps, vocabulary},
                                                      std::move(target_logits_)};
    results->values[item_.name + ".logits"] = {{item_.steps, block, vocabulary},
                                               std::move(logits_)};
    results->ids[item_.name + ".draft_ids"] = {{item_.steps, block + 1}, std::move(ids_)};
    if (!confidence_.empty()) {
      results->values[item_.name + ".confidence"] = {{item_.steps, block}, std::move(confidence_)};
    }
  }

 private:
  // Runs the target on rows of the sequence and commits them.
  absl::Status RunRows(std::int64_t position, std::int64_t rows) {
    const std::span<const Token> sequence = item_.sequence;
    engine::model::ForwardOptions forward;
    forward.taps = drafter_.taps();
    forward.keep_streams = drafter_.needs_streams();
    const engine::model::SequenceSpan span{state_.get(),
                                           table_,
                                           position,
                                           sequence.subspan(Size(position), Size(rows)),
                                           engine::model::LogitsRows::kLast};
    RETURN_IF_ERROR(model_.Forward({&span, 1}, *pool_, forward, &result_));
    const engine::draft::CommittedSpan committed{
        draft_state_, position, rows, 0, sequence.subspan(Size(position + 1), Size(rows))};
    return drafter_.Commit({result_.taps, result_.streams}, {&committed, 1});
  }

  absl::Status Draft(std::int64_t anchor_position) {
    engine::draft::DraftRequest request;
    request.state = draft_state_;
    request.anchor = item_.sequence[Size(anchor_position)];
    request.anchor_position = anchor_position;
    request.keep_logits = true;
    RETURN_IF_ERROR(drafter_.Draft({&request, 1}, &drafted_));
    const auto append = [](const auto& from, auto& to) {
      to.insert(to.end(), from.begin(), from.end());
    };
    append(result_.logits, target_logits_);
    append(drafted_.logits, logits_);
    append(drafted_.confidence, confidence_);
    ids_.push_back(request.anchor);
    append(drafted_.tokens, ids_);
    return absl::OkStatus();
  }

  const DraftCase& item_;
  Model& model_;
  Drafter& drafter_;
  std::unique_ptr<engine::cache::KvPool> pool_;
  std::unique_ptr<engine::cache::SequenceState> state_;
  std::vector<std::byte> draft_state_;
  std::vector<std::int32_t> table_;
  engine::model::ForwardResult result_;
  engine::draft::DraftResult drafted_;
  std::vector<float> target_logits_;
  std::vector<float> logits_;
  std::vector<float> confidence_;
  std::vector<std::int32_t> ids_;
};

absl::Status RunRank(const DraftOptions& options,
                     const engine::weights::Checkpoint& checkpoint,
                     std::span<const DraftCase> cases,
                     int rank,
                     engine::collective::Communicator* communicator,
                     Results* results) {
  const engine::weights::RankShare share{rank,
                                         options.ranks,
                                         options.experts_whole,
                                         engine::weights::WidthUnitOf(options.engine.numerics)};
  ASSIGN_OR_RETURN(const auto loaded,
                   engine::weights::LoadRank(checkpoint, share, {.draft = true}));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<Model> model,
      Model::Create(engine::model::BindWeights(*loaded), options.engine, communicator));
  const engine::draft::DrafterOptions drafting{engine::draft::KindOf(checkpoint.shape()),
                                               options.mtp_block};
  ASSIGN_OR_RETURN(const std::unique_ptr<Drafter> drafter,
                   engine::draft::MakeDrafter(*loaded, drafting, options.engine, communicator));
  for (const DraftCase& item : cases) {
    CaseRun run(item, *model, *drafter);
    const absl::Status status = run.Run(options.chunk);
    if (!status.ok()) {
      return absl::Status(status.code(),
                          absl::StrFormat("case %s: %s", item.name, status.message()));
    }
    if (rank == 0) {
      run.Store(results);
    }
  }
  return absl::OkStatus();
}

absl::Status Draft(const DraftOptions& options) {
  RETURN_IF_ERROR(CheckReplaceable(options.output));
  ASSIGN_OR_RETURN(const std::vector<DraftCase> cases, ReadDraftCases(options.input));
  ASSIGN_OR_RETURN(const auto checkpoint, engine::weights::Checkpoint::Open(options.model));
  if (checkpoint->shape().draft == engine::weights::DraftKind::kNone) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "--model %s: this checkpoint holds no draft stages (mtp.*)", options.model));
  }
  const int ranks_max = engine::weights::RanksMax(checkpoint->shape());
  if (options.ranks > ranks_max) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--ranks %d: this model has %d output groups, so it runs on 1 to %d ranks",
                        options.ranks,
                        checkpoint->shape().ops.groups,
                        ranks_max));
  }
  Results results;
  RETURN_IF_ERROR(engine::collective::RunRankThreads(
      options.ranks, [&](int rank, engine::collective::Communicator* communicator) {
        return RunRank(options, *checkpoint, cases, rank, communicator, &results);
      }));
  return WriteTensors(options.output, results.values, results.ids);
}

}  // namespace

int RunDraftCommand(std::span<const std::string_view> args) {
  if (std::find(args.begin(), args.end(), "--help") != args.end()) {
    std::cout << kDraftUsage;
    return 0;
  }
  const absl::StatusOr<DraftOptions> options = ParseDraftOptions(args);
  if (!options.ok()) {
    std::cerr << "draft: " << options.status().message() << "\n\n" << kDraftUsage;
    return 2;
  }
  const absl::Status status = Draft(*options);
  if (!status.ok()) {
    std::cerr << "draft: " << status.message() << "\n";
    return 1;
  }
  return 0;
}

}  // namespace sparkspan::deploy::cli
