#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cache_layout.h"
#include "kernels/numerics/profile.h"
#include "kernels/stored_weight.h"

// The seam between the model and a device: the fused phases of a layer (docs/decisions/0002). One
// layer program, engine/model, calls them in order for every device.
//
// The buffers between phases belong to the execution, in its memory and its formats; a phase names
// those it reads and writes:
//   streams   [rows, m, hidden]      the residual streams
//   mix       post [rows, m], comb [rows, m, m] of the site last opened
//   x         [rows, hidden]         the normalised input of a sublayer
//   latent    [rows, q_lora]         the normalised query latent
//   queries   [rows, heads, head_dim]
//   choices   [rows, index_topk]     compressed entries a row attends, ascending, -1 = none
//   attended  [rows, heads, head_dim]
//   routing   experts and weights    [rows, experts per token]
//   exchange  [rows, hidden] fp32    this rank's partial sum, and after the exchange the whole sum
// Only `exchange`, the head's logits and what drafters read are seen outside.
//
// Rounding and formats follow the profile; "bf16" below means: where the profile's activations are.
// Every phase computes a row from that row (and its sequence's stored bytes) alone.
namespace sparkspan::kernels {

// Sizes of the model that phases need; heads and groups are those of this rank.
struct OpsShape {
  int hidden = 0;
  int streams = 0;
  int sinkhorn_iterations = 0;
  float sinkhorn_epsilon = 0.0f;
  float norm_epsilon = 0.0f;
  int q_lora = 0;
  int head_dim = 0;
  int rope_dim = 0;
  int heads = 0;
  int groups = 0;
  int o_lora = 0;
  int window = 0;
  int index_heads = 0;
  int index_dim = 0;
  int index_topk = 0;
  int experts = 0;
  int experts_per_token = 0;
  float route_scale = 0.0f;
  float swiglu_limit = 0.0f;  // 0: none
  // Rotary tables: of layers without compression, and of those with.
  float rope_theta = 0.0f;
  float compress_rope_theta = 0.0f;
  float yarn_factor = 0.0f;  // 0: no stretching
  std::int64_t yarn_original_positions = 0;
  float yarn_beta_fast = 0.0f;
  float yarn_beta_slow = 0.0f;
};

struct HyperConnectionWeights {
  StoredWeight fn;               // fp32 [m (m + 2), m * hidden]; of the head [m, m * hidden]
  std::span<const float> base;   // [fn.rows]
  std::span<const float> scale;  // [3]; of the head [1]
};

struct CompressorWeights {
  StoredWeight wkv;             // bf16 [width, hidden]
  StoredWeight wgate;           // bf16 [width, hidden]
  std::span<const float> ape;   // [ratio, width]
  std::span<const float> norm;  // [dim]
};

struct AttentionWeights {
  StoredWeight wq_a;              // e4m3 [q_lora, hidden]
  std::span<const float> q_norm;  // [q_lora]
  StoredWeight wq_b;              // e4m3 [heads * head_dim, q_lora]
  StoredWeight wkv;               // e4m3 [head_dim, hidden]
  std::span<const float> kv_norm;
  std::span<const float> sink;         // [heads]
  StoredWeight wo_a;                   // e4m3 [groups * o_lora, heads / groups * head_dim]
  StoredWeight wo_b;                   // e4m3 [hidden, groups * o_lora]
  bool wo_b_whole = true;              // this rank's product is the whole sum: rounds like one
  CompressorWeights compressor;        // ratio 4 and 128
  StoredWeight index_wq_b;             // ratio 4: e4m3 [index_heads * index_dim, q_lora]
  StoredWeight index_weights;          // ratio 4: bf16 [index_heads, hidden]
  CompressorWeights index_compressor;  // ratio 4
};

// One SwiGLU expert, whole or a slice of its intermediate width.
struct ExpertWeights {
  StoredWeight gate;  // w1 [width, hidden]
  StoredWeight up;    // w3 [width, hidden]
  StoredWeight down;  // w2 [hidden, width]
};

struct MoeWeights {
  StoredWeight router;                  // bf16 [experts, hidden]
  std::span<const float> bias;          // [experts]; empty on hash-routed layers
  std::span<const std::int32_t> table;  // hash-routed layers: [vocabulary, experts per token]
  // Indexed by expert id; an expert without weights belongs to another rank.
  std::vector<ExpertWeights> experts;
  ExpertWeights shared;       // no weights where another rank computes it
  bool experts_whole = true;  // an expert's output here is whole: rounds like one
  bool shared_whole = true;
};

// What follows the stages of a block drafter (arXiv 2607.05147).
struct MarkovWeights {
  StoredWeight w1;          // bf16 [vocabulary, markov]
  StoredWeight w2;          // bf16 [this rank's share of the vocabulary, markov]
  StoredWeight confidence;  // bf16 [1, hidden + markov]
};

// What opens the next-token block: a position's streams and the token after it (arXiv
// 2412.19437, 2.2).
struct TokenJoinWeights {
  std::span<const float> token_norm;   // [hidden]
  std::span<const float> stream_norm;  // [hidden], of each stream
  StoredWeight token_projection;       // e4m3 [hidden, hidden]
  StoredWeight stream_projection;      // e4m3 [hidden, hidden]
};

struct StepSpan {
  std::byte* state = nullptr;
  const std::int32_t* blocks = nullptr;
  std::int64_t first_position = 0;
  int first_row = 0;
  int rows = 0;
};

struct StepRow {
  int span = 0;
  std::int64_t position = 0;
  std::int32_t token = 0;
};

// Rows in the order of the spans. Borrowed for the step.
struct StepRows {
  std::vector<StepSpan> spans;
  std::vector<StepRow> rows;
  std::byte* pool = nullptr;  // KV block b at pool + b * block_bytes
  // The rows of a span are one draft block: each attends the `window` entries before the span and
  // all rows of the span, later ones too, and none is kept.
  bool draft_block = false;
};

class Ops {
 public:
  virtual ~Ops() = default;

  // Makes room for the rows and takes their places in the cache.
  virtual void BeginStep(const StepRows& step) = 0;

  // exchange = the embedding rows of tokens first_token <= t < first_token + embedding.rows, zeros
  // for other tokens.
  virtual void Embed(const StoredWeight& embedding, std::int64_t first_token) = 0;

  // Every stream = exchange (bf16).
  virtual void OpenStreams() = 0;

  // Reads streams; writes mix, and x = norm(sum_i pre_i streams_i) (bf16 after the sum and after
  // the norm). The coefficients are fp32.
  virtual void MixStreams(const HyperConnectionWeights& site, std::span<const float> norm) = 0;

  // Reads x; writes latent = q_norm(wq_a x), and the rows' window entries: kv_norm(wkv x), rotated,
  // in stored form. `layer` names the place in the cache layout, here and below.
  virtual void ProjectLatents(int layer, const AttentionWeights& weights) = 0;

  // Ratio 4 and 128: reads x; writes the compressor rows, and the compressed entries (and index
  // keys) that end at a row of this step into the KV blocks.
  virtual void Compress(int layer, const AttentionWeights& weights) = 0;

  // Reads latent; writes queries = wq_b latent, normed per head and rotated.
  virtual void ProjectQueries(int layer, const AttentionWeights& weights) = 0;

  // Ratio 4: reads latent, x and the stored index keys; writes choices. Entry j is visible to
  // position p when j < (p + 1) / 4; all are chosen while they are at most index_topk.
  virtual void SelectEntries(int layer, const AttentionWeights& weights) = 0;

  // Reads queries, choices and stored entries; writes attended: the window of the row, itself
  // included, in order of position, then compressed entries in order of index (ratio 4: choices;
  // ratio 128: all visible), with a sink per head; rotated back. Where weights are rounded they are
  // relative to a running maximum over blocks of 64 slots: the window has the first `window` slots,
  // from its oldest entry, compressed entries follow (kernels/reference/attention.h). Then keeps
  // the rows' window entries and compressor rows in the sequences' states. Of a draft block: see
  // StepRows; the slots are those of the entries before the span, then those of its rows.
  virtual void Attend(int layer, const AttentionWeights& weights) = 0;

  // Reads attended; writes exchange = wo_b (wo_a per group), a partial sum.
  virtual void ProjectOutput(const AttentionWeights& weights) = 0;

  // Reads exchange (rounded to bf16 first), mix and streams; writes streams.
  virtual void ReturnToStreams() = 0;

  // Reads x and the rows' tokens; writes routing.
  virtual void Route(const MoeWeights& weights) = 0;

  // Reads x and routing; writes exchange: per row the routed experts present here in ascending
  // order of id, then the shared one, a partial sum.
  virtual void RunExperts(const MoeWeights& weights) = 0;

  // Reads streams; logits [rows.size(), head.rows] fp32 of the given rows: streams collapsed,
  // normed, times this rank's rows of the head. `collapsed` [rows.size(), hidden] receives what
  // went into the norm; empty: not wanted.
  virtual void Head(const HyperConnectionWeights& collapse,
                    std::span<const float> norm,
                    const StoredWeight& head,
                    std::span<const int> rows,
                    std::span<float> logits,
                    std::span<float> collapsed) = 0;

  // The drafters' phases.

  // Writes x = norm(projection taps), `taps` being [rows, projection.columns] fp32: what the
  // target's layers say of committed rows.
  virtual void ProjectTaps(const StoredWeight& projection,
                           std::span<const float> norm,
                           std::span<const float> taps) = 0;

  // Reads x; writes the rows' window entries as ProjectLatents does, and keeps them in the
  // sequences' states.
  virtual void KeepLatents(int layer, const AttentionWeights& weights) = 0;

  // Reads exchange (the rows' embeddings, as of Embed) and streams; writes
  // streams_s = stream_projection stream_norm(streams_s) + token_projection token_norm(exchange).
  virtual void JoinTokens(const TokenJoinWeights& weights) = 0;

  // One turn of the left-to-right correction, for previous.size() rows that are not the step's:
  //   e = w1[previous]   logits += w2 e   confidence = confidence weight . concat(collapsed, e)
  // all fp32 without further rounding. logits [n, w2.rows]; collapsed [n, hidden]; confidence [n].
  virtual void CorrectLogits(const MarkovWeights& weights,
                             std::span<const std::int32_t> previous,
                             std::span<const float> collapsed,
                             std::span<float> logits,
                             std::span<float> confidence) = 0;

  // The exchange buffer where a communicator can reach it: [rows * hidden].
  virtual std::span<float> exchange() = 0;

  // For traces, digests and drafters. Streams as fp32 [rows, m, hidden]; mean over the streams
  // (bf16) as [rows, hidden].
  virtual void ReadStreams(std::span<float> streams) = 0;
  virtual void WriteStreams(std::span<const float> streams) = 0;
  virtual void ReadStreamMean(std::span<float> mean) = 0;
  virtual std::span<const std::int32_t> choices() = 0;         // of the layer last selected
  virtual std::span<const std::int32_t> routed_experts() = 0;  // of the layer last routed
};

}  // namespace sparkspan::kernels
