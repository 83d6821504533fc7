#include "deploy/cli/score_command.h"

#include <algorithm>
#include <iostream>
#include <map>
#include <numeric>

#include "absl/strings/str_format.h"
#include "deploy/cli/score_options.h"
#include "deploy/cli/tensor_file.h"
#include "engine/base/status.h"
#include "engine/collective/local_communicator.h"
#include "engine/model/bind_weights.h"
#include "engine/weights/checkpoint.h"
#include "engine/weights/rank_weights.h"

namespace sparkspan::deploy::cli {
namespace {

using engine::model::ForwardTrace;
using engine::model::Model;
using Injections = std::map<int, std::map<std::string, F32Tensor>>;

std::size_t Size(std::int64_t value) {
  return static_cast<std::size_t>(value);
}

// One case as one rank runs it; only rank 0 keeps results.
class CaseRun {
 public:
  CaseRun(const ScoreOptions& options,
          const ScoreCase& item,
          const Injections& inject,
          Model& model)
      : options_(options), item_(item), inject_(inject), model_(model) {
    const kernels::OpsShape& shape = model.parts().shape;
    layers_ = model.parts().layers.size();
    total_ = item.tokens.size() + item.decode_tokens.size();
    stream_width_ = Size(shape.streams) * Size(shape.hidden);
    chosen_ = Size(shape.experts_per_token);
    topk_ = Size(shape.index_topk);
    if (options.trace) {
      hidden_.resize((layers_ + 1) * total_ * stream_width_);
      router_.resize(layers_ * total_ * chosen_);
      index_.resize(layers_ * total_ * topk_);
    }
  }

  absl::Status Run() {
    const std::int32_t blocks = engine::cache::KvPool::BlocksFor(static_cast<std::int64_t>(total_));
    ASSIGN_OR_RETURN(pool_, engine::cache::KvPool::Create(model_.cache_layout(), blocks));
    state_ = std::make_unique<engine::cache::SequenceState>(model_.cache_layout());
    table_.resize(Size(blocks));
    std::iota(table_.begin(), table_.end(), 0);
    const std::size_t chunk = options_.chunk == 0 ? item_.tokens.size() : Size(options_.chunk);
    const std::span<const engine::Token> prompt = item_.tokens;
    for (std::size_t begin = 0; begin < prompt.size(); begin += chunk) {
      const std::size_t rows = std::min(chunk, prompt.size() - begin);
      RETURN_IF_ERROR(Step(begin, prompt.subspan(begin, rows)));
    }
    prefill_logits_ = result_.logits;
    for (std::size_t i = 0; i < item_.decode_tokens.size(); ++i) {
      RETURN_IF_ERROR(Step(prompt.size() + i, {&item_.decode_tokens[i], 1}));
      decode_logits_.insert(decode_logits_.end(), result_.logits.begin(), result_.logits.end());
    }
    return absl::OkStatus();
  }

  void Store(std::map<std::string, F32Tensor>* tensors) {
    const std::int64_t vocabulary = model_.parts().vocabulary;
    const auto n = static_cast<std::int64_t>(item_.decode_tokens.size());
    const auto total = static_cast<std::int64_t>(total_);
    const auto layers = static_cast<std::int64_t>(layers_);
    const kernels::OpsShape& shape = model_.parts().shape;
    (*tensors)[item_.name + ".prefill_logits"] = {{vocabulary}, std::move(prefill_logits_)};
    (*tensors)[item_.name + ".decode_logits"] = {{n, vocabulary}, std::move(decode_logits_)};
    if (!options_.trace) {
      return;
    }
    (*tensors)[item_.name + ".hidden"] = {{layers + 1, total, shape.streams, shape.hidden},
                                          std::move(hidden_)};
    (*tensors)[item_.name + ".router"] = {{layers, total, shape.experts_per_token},
                                          std::move(router_)};
    for (std::size_t layer = 0; layer < layers_; ++layer) {
      if (model_.parts().layers[layer].ratio == kernels::kOverlapRatio) {
        const auto begin = index_.begin() + static_cast<std::ptrdiff_t>(layer * total_ * topk_);
        (*tensors)[absl::StrFormat("%s.index.%d", item_.name, layer)] = {
            {total, shape.index_topk},
            {begin, begin + static_cast<std::ptrdiff_t>(total_ * topk_)}};
      }
    }
  }

 private:
  absl::Status Step(std::size_t position, std::span<const engine::Token> rows) {
    ForwardTrace trace;
    engine::model::ForwardOptions forward;
    forward.trace = options_.trace ? &trace : nullptr;
    std::vector<engine::model::LayerInjection> inject;
    for (const auto& [layer, tensors] : inject_) {
      ASSIGN_OR_RETURN(const std::span<const float> hidden, Injected(layer, tensors));
      inject.push_back(
          {layer, hidden.subspan(position * stream_width_, rows.size() * stream_width_)});
    }
    forward.inject = inject;
    const engine::model::SequenceSpan span{state_.get(),
                                           table_,
                                           static_cast<std::int64_t>(position),
                                           rows,
                                           engine::model::LogitsRows::kLast};
    RETURN_IF_ERROR(model_.Forward({&span, 1}, *pool_, forward, &result_));
    if (options_.trace) {
      Keep(position, rows.size(), trace);
    }
    return absl::OkStatus();
  }

  // The rows of a case to put before a layer: a tensor of the case's name for that layer alone, or
  // the layer's part of an earlier trace.
  absl::StatusOr<std::span<const float>> Injected(
      int layer, const std::map<std::string, F32Tensor>& tensors) const {
    const std::size_t size = total_ * stream_width_;
    if (const auto own = tensors.find(item_.name);
        own != tensors.end() && own->second.values.size() == size) {
      return std::span<const float>(own->second.values);
    }
    if (const auto traced = tensors.find(item_.name + ".hidden");
        traced != tensors.end() && traced->second.values.size() == (layers_ + 1) * size &&
        Size(layer) < layers_) {
      return std::span<const float>(traced->second.values).subspan(Size(layer) * size, size);
    }
    return absl::InvalidArgumentError(absl::StrFormat(
        "--inject %d: the file has no tensor %s [%d, streams, hidden], nor %s.hidden of a trace",
        layer,
        item_.name,
        total_,
        item_.name));
  }

  // Copies a step's rows to their places in the case's trace.
  void Keep(std::size_t position, std::size_t rows, const ForwardTrace& trace) {
    const auto place = [&](const auto& from, std::size_t slices, std::size_t width, auto& to) {
      for (std::size_t slice = 0; slice < slices; ++slice) {
        std::transform(
            from.begin() + static_cast<std::ptrdiff_t>(slice * rows * width),
            from.begin() + static_cast<std::ptrdiff_t>((slice + 1) * rows * width),
            to.begin() + static_cast<std::ptrdiff_t>((slice * total_ + position) * width),
            [](auto value) { return static_cast<float>(value); });
      }
    };
    place(trace.hidden, layers_ + 1, stream_width_, hidden_);
    place(trace.router, layers_, chosen_, router_);
    place(trace.index, layers_, topk_, index_);
  }

  const ScoreOptions& options_;
  const ScoreCase& item_;
  const Injections& inject_;
  Model& model_;
  std::size_t layers_ = 0;
  std::size_t total_ = 0;
  std::size_t stream_width_ = 0;
  std::size_t chosen_ = 0;
  std::size_t topk_ = 0;
  std::unique_ptr<engine::cache::KvPool> pool_;
  std::unique_ptr<engine::cache::SequenceState> state_;
  std::vector<std::int32_t> table_;
  engine::model::ForwardResult result_;
  std::vector<float> prefill_logits_;
  std::vector<float> decode_logits_;
  std::vector<float> hidden_;
  std::vector<float> router_;
  std::vector<float> index_;
};

absl::Status Score(const ScoreOptions& options) {
  RETURN_IF_ERROR(CheckReplaceable(options.output));
  ASSIGN_OR_RETURN(const std::vector<ScoreCase> cases, ReadScoreCases(options.input));
  Injections inject;
  for (const auto& [layer, file] : options.inject) {
    ASSIGN_OR_RETURN(inject[layer], ReadTensors(file));
  }
  ASSIGN_OR_RETURN(const auto checkpoint, engine::weights::Checkpoint::Open(options.model));
  const int ranks_max = engine::weights::RanksMax(checkpoint->shape());
  if (options.ranks > ranks_max) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--ranks %d: this model has %d output groups, so it runs on 1 to %d ranks",
                        options.ranks,
                        checkpoint->shape().ops.groups,
                        ranks_max));
  }
  std::map<std::string, F32Tensor> tensors;
  const auto body = [&](int rank, engine::collective::Communicator* communicator) -> absl::Status {
    const engine::weights::RankShare share{rank,
                                           options.ranks,
                                           options.experts_whole,
                                           engine::weights::WidthUnitOf(options.engine.numerics)};
    ASSIGN_OR_RETURN(const auto loaded, engine::weights::LoadRank(*checkpoint, share));
    ASSIGN_OR_RETURN(
        const std::unique_ptr<Model> model,
        Model::Create(engine::model::BindWeights(*loaded), options.engine, communicator));
    for (const ScoreCase& item : cases) {
      CaseRun run(options, item, inject, *model);
      const absl::Status status = run.Run();
      if (!status.ok()) {
        return absl::Status(status.code(),
                            absl::StrFormat("case %s: %s", item.name, status.message()));
      }
      if (rank == 0) {
        run.Store(&tensors);
      }
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(engine::collective::RunRankThreads(options.ranks, body));
  return WriteTensors(options.output, tensors);
}

}  // namespace

int RunScoreCommand(std::span<const std::string_view> args) {
  if (std::find(args.begin(), args.end(), "--help") != args.end()) {
    std::cout << kScoreUsage;
    return 0;
  }
  const absl::StatusOr<ScoreOptions> options = ParseScoreOptions(args);
  if (!options.ok()) {
    std::cerr << "score: " << options.status().message() << "\n\n" << kScoreUsage;
    return 2;
  }
  const absl::Status status = Score(*options);
  if (!status.ok()) {
    std::cerr << "score: " << status.message() << "\n";
    return 1;
  }
  return 0;
}

}  // namespace sparkspan::deploy::cli
