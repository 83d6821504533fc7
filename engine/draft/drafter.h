#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/ids.h"

// Proposes tokens that the target model then verifies: a peer of the model, with weights and
// per-sequence state of its own (docs/drafting.md). What it proposes changes speed, never text.
namespace sparkspan::engine::draft {

// Told by the tensors of the checkpoint: mtp.0.main_proj, mtp.0.e_proj, or neither.
enum class DrafterKind : std::uint8_t {
  kNone,
  kDspark,  // semi-autoregressive block of drafts with a Markov correction
  kMtp,     // the next-token block of the first release
};

std::string_view ToString(DrafterKind kind);  // "none", "dspark", "mtp"

// What a drafter reads of the target's step. One row per row of the step.
struct TargetRows {
  std::span<const float> taps;     // [rows, taps, hidden]; kDspark: as Drafter::taps() lists
  std::span<const float> streams;  // [rows, streams, hidden] after the last layer; kMtp
};

// Consecutive rows of one sequence that the target has committed.
struct CommittedSpan {
  std::span<std::byte> state;       // state_bytes() of this sequence
  std::int64_t first_position = 0;  // absolute; the end of what was committed before, 0 = anew
  std::int64_t rows = 0;            // at least 1
  std::int64_t first_row = 0;       // of TargetRows
  // The token at the position after each row: [rows]. The last is the token just chosen, or the
  // next one of the prompt where a chunk ends.
  std::span<const Token> next_tokens;
};

// How a drafted token is drawn of softmax(logits / temperature).
enum class DraftNoise : std::uint8_t {
  kOwn,     // noise of RandomPurpose::kDraft: for the rejection rule
  kShared,  // noise of RandomPurpose::kSample, that of the target: for the shared-noise rule
};

// One sequence to draft for, after its rows up to `anchor_position` were committed.
struct DraftRequest {
  std::span<std::byte> state;
  Token anchor = 0;                  // chosen, not yet run
  std::int64_t anchor_position = 0;  // absolute
  float temperature = 0.0f;          // 0: the largest logit, lowest id on a tie
  std::uint64_t seed = 0;
  DraftNoise noise = DraftNoise::kOwn;
  // Keep the logits the tokens were drawn of; the rejection rule needs them.
  bool keep_logits = false;
};

// Equal on all ranks, bit for bit.
struct DraftResult {
  std::vector<Token> tokens;  // [requests, block]
  // [requests, block] raw logits of the confidence head: that a draft is accepted if those before
  // it are. Empty from drafters that have none.
  std::vector<float> confidence;
  // Per request that keeps them, in order: [block, vocabulary] fp32, the corrected logits that
  // draft k was drawn of, over the whole vocabulary.
  std::vector<float> logits;
  std::int64_t exchange_ns = 0;  // spent inside collectives
};

// One rank's share. Commit and Draft are collectives: every rank calls them with the same spans and
// requests, inside the same step of the communicator as the target's Forward. One thread at a time.
//
// Exactness: a request's drafts have the same bits whatever other requests share the call, whatever
// the number of threads, and whether the context was committed row by row or in chunks.
class Drafter {
 public:
  virtual ~Drafter() = default;

  virtual DrafterKind kind() const = 0;
  virtual int block() const = 0;  // drafts per request
  // Target layers whose output, averaged over the streams, Commit reads; in the order it reads.
  virtual std::span<const int> taps() const = 0;
  virtual bool needs_streams() const = 0;  // Commit reads TargetRows::streams
  // Of one sequence: zeroed bytes are an empty context.
  virtual std::int64_t state_bytes() const = 0;
  // Activations for a step that commits `rows` rows and drafts for `requests` sequences.
  virtual std::int64_t ActivationBytes(std::int64_t rows, std::int64_t requests) const = 0;

  // Takes committed rows into the context. Rows that were never committed must not be passed: there
  // is nothing to undo. An error of the communicator leaves the states undefined.
  virtual absl::Status Commit(const TargetRows& target, std::span<const CommittedSpan> spans) = 0;

  // Drafts block() tokens for every request. Changes no state that a later Commit does not rewrite.
  virtual absl::Status Draft(std::span<const DraftRequest> requests, DraftResult* result) = 0;
};

}  // namespace sparkspan::engine::draft
