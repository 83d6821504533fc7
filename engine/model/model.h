#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/ids.h"
#include "engine/cache/kv_pool.h"
#include "engine/collective/communicator.h"
#include "engine/model/model_parts.h"
#include "kernels/cache_layout.h"
#include "kernels/numerics/profile.h"

// The model as one rank executes it: rows of tokens in, logits out, attention state moved forward.
namespace sparkspan::engine::model {

enum class Device : std::uint8_t {
  kCpu,        // vectorised, threaded
  kReference,  // plain loops, sums in double: slow, the yardstick
};

struct ModelOptions {
  kernels::numerics::NumericsProfile numerics = kernels::numerics::kQuantised;
  Device device = Device::kCpu;
  // Threads that share the work of a step, the caller's among them; 1 to 256. Changes no bit.
  int threads = 1;
  // Rows of a sequence that may be rewound: those after the newest `rewind_rows_max` are final. A
  // draft block plus one where drafts are verified, else 0.
  int rewind_rows_max = 0;
};

enum class LogitsRows : std::uint8_t { kNone, kLast, kAll };

// Consecutive rows of one sequence in a step. Prefill, decode and verification differ only in the
// number of rows. Rows of one sequence may stand in one span per step only.
struct SequenceSpan {
  cache::SequenceState* state = nullptr;
  // KV blocks in order of position, covering at least first_position + tokens.size() tokens.
  std::span<const std::int32_t> blocks;
  // Absolute position of tokens[0]. The sequence's length so far, or up to rewind_rows_max less
  // (rows from there on are forgotten); 0 starts anew whatever the state holds.
  std::int64_t first_position = 0;
  std::span<const Token> tokens;  // not empty; each in [0, vocabulary)
  LogitsRows logits = LogitsRows::kLast;
};

// What a step may additionally record. Buffers are resized to fit; rows are in the order of the
// spans, and a span's rows in the order of its tokens.
struct ForwardTrace {
  std::vector<float> hidden;         // [layers + 1, rows, streams, hidden]; the embedding first
  std::vector<std::int32_t> router;  // [layers, rows, experts per token], in slot order
  // [layers, rows, index_topk], ascending, -1 = none; all -1 on layers without an indexer.
  std::vector<std::int32_t> index;
};

// Replaces the input of one layer: `hidden` is [rows, streams, hidden].
struct LayerInjection {
  int layer = 0;
  std::span<const float> hidden;
};

struct ForwardOptions {
  ForwardTrace* trace = nullptr;
  std::span<const LayerInjection> inject;
  // Layers whose output, averaged over the streams, is kept for a drafter; ascending.
  std::span<const int> taps;
  bool keep_streams = false;  // the streams after the last layer, for a drafter
};

struct ForwardResult {
  // [logits rows, vocabulary], the full vocabulary on every rank, in the order of the spans; a
  // span gives no row, one or all its rows as it asked.
  std::vector<float> logits;
  std::int64_t logits_rows = 0;
  std::int64_t rows = 0;       // of the step
  std::vector<float> taps;     // [rows, taps, hidden]
  std::vector<float> streams;  // [rows, streams, hidden], where they were to be kept; else empty
  // Over the final residual streams' bits and the routing and index choices of every layer. Equal
  // on all ranks unless one of them went wrong.
  std::uint64_t digest = 0;
  std::int64_t exchange_ns = 0;  // spent inside collectives
};

// One rank's share of the model. Forward is a collective: every rank calls it with the same spans
// (their own states and pools). One thread at a time.
//
// Exactness: with one profile, device and number of ranks, a row's logits have the same bits
// whatever other rows share its steps, however its sequence was cut into spans, and whatever the
// number of threads (docs/decisions/0003).
class Model {
 public:
  // `parts` is taken over (engine/model/bind_weights.h makes it of a loaded checkpoint);
  // `communicator` is borrowed and must outlive the model, null for a single rank. Errors: options
  // out of range; a share that the profile cannot compute exactly (quantised activations come in
  // groups of 128, which a split must not cut); a processor without the vector instructions.
  static absl::StatusOr<std::unique_ptr<Model>> Create(ModelParts parts,
                                                       const ModelOptions& options,
                                                       collective::Communicator* communicator);
  virtual ~Model() = default;

  virtual const ModelParts& parts() const = 0;
  virtual const ModelOptions& options() const = 0;

  // Sizes of a KV block and of a sequence's state, and where what lies in them.
  virtual const kernels::CacheLayout& cache_layout() const = 0;

  // Bytes that activations of a step of `rows` rows take on this rank, beside weights and cache.
  virtual std::int64_t ActivationBytes(std::int64_t rows) const = 0;

  // Runs one step. The caller has named the step to the communicator (BeginStep). An error of the
  // arguments changes nothing; an error of the communicator leaves the states undefined.
  virtual absl::Status Forward(std::span<const SequenceSpan> spans,
                               cache::KvPool& pool,
                               const ForwardOptions& options,
                               ForwardResult* result) = 0;
};

// The vector instructions that a model on this device runs with on this processor ("AVX2", ...), or
// "scalar" for the reference. Ranks of one group must agree on them: other instructions may round
// otherwise.
std::string VectorInstructionsOf(Device device);

// The layout that Create would use: for budgeting memory before weights are there.
kernels::CacheLayout CacheLayoutOf(const kernels::OpsShape& shape,
                                   std::span<const int> ratios,
                                   const ModelOptions& options);

}  // namespace sparkspan::engine::model
