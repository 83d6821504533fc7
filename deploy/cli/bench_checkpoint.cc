#include "deploy/cli/bench_checkpoint.h"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/hash.h"
#include "engine/base/status.h"
#include "engine/weights/checkpoint_writer.h"
#include "engine/weights/tensor_specs.h"

namespace sparkspan::deploy::cli {
namespace {

using engine::weights::ModelShape;

// Written last: where it is, the checkpoint is whole.
constexpr const char* kMarker = "sparkspan_bench.txt";
constexpr int kWriterThreadsMax = 16;
constexpr int kLayersMin = 4;  // two with the window alone, one of each other kind
constexpr int kLayersMax = 1024;

std::string MarkerText(const ModelShape& shape, std::uint64_t seed) {
  return absl::StrFormat("version 1\nconfig %016x\nseed %d\n",
                         engine::Hash64(engine::weights::ConfigJson(shape)),
                         seed);
}

std::string ReadText(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// As published: the first two layers have the window alone, then ratios 4 and 128 take turns.
void AddLayer(ModelShape* shape) {
  const int layer = shape->layers();
  shape->ratios.push_back(layer < 2        ? 0
                          : layer % 2 == 0 ? kernels::kOverlapRatio
                                           : kernels::kDenseRatio);
}

absl::StatusOr<std::filesystem::path> TemporaryFolder() {
  const char* root = std::getenv("TMPDIR");
  // /var/tmp is on a disk where /tmp may be memory.
  std::string path = absl::StrFormat("%s/sparkspan-bench-XXXXXX",
                                     root == nullptr || *root == '\0' ? "/var/tmp" : root);
  if (mkdtemp(path.data()) == nullptr) {
    return absl::UnavailableError(
        absl::StrFormat("cannot make a folder like %s: name one with --folder", path));
  }
  return path;
}

absl::Status CheckSpace(const std::filesystem::path& folder, std::int64_t bytes) {
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(folder, error);
  if (!error && space.available < static_cast<std::uintmax_t>(bytes)) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "%s: the checkpoint needs %d bytes, %d are free: name another folder, or fewer --bytes",
        folder.string(),
        bytes,
        space.available));
  }
  return absl::OkStatus();
}

}  // namespace

ModelShape BenchShape(std::int64_t bytes, int draft_stages) {
  const int fraction = bytes >= 1'000'000'000 ? 1 : bytes >= 50'000'000 ? 4 : 16;
  ModelShape shape;
  kernels::OpsShape& ops = shape.ops;
  ops.hidden = 4096 / fraction;
  ops.streams = 4;
  ops.sinkhorn_iterations = 20;
  ops.sinkhorn_epsilon = 1e-6f;
  ops.norm_epsilon = 1e-6f;
  ops.q_lora = std::max(128, 1024 / fraction);
  ops.head_dim = 512;
  ops.rope_dim = 64;
  ops.heads = 64 / fraction;
  ops.groups = std::min(8, ops.heads);
  ops.o_lora = std::max(128, 1024 / fraction);
  ops.window = 128;
  ops.index_heads = 64 / fraction;
  ops.index_dim = 128;
  ops.index_topk = 512;
  ops.experts = 16;
  ops.experts_per_token = 6;
  ops.route_scale = 1.5f;
  ops.swiglu_limit = 10.0f;
  ops.rope_theta = 10000.0f;
  ops.compress_rope_theta = 160000.0f;
  ops.yarn_factor = 16.0f;
  ops.yarn_original_positions = 65536;
  ops.yarn_beta_fast = 32.0f;
  ops.yarn_beta_slow = 1.0f;
  shape.hash_layers = 1;
  shape.vocabulary = 32768 / fraction;
  shape.expert_width = 2048 / fraction;
  shape.positions_max = 1 << 20;
  // A layer with compression and one with another ratio differ, so all are counted.
  while (shape.layers() < kLayersMin ||
         (StoredBytes(shape) < bytes && shape.layers() < kLayersMax)) {
    AddLayer(&shape);
  }
  if (draft_stages > 0) {
    shape.dspark = {.block_size = 5,
                    .markov_rank = 256,
                    .noise_token = shape.vocabulary - 1,
                    .target_layers = {shape.layers() - 3, shape.layers() - 2, shape.layers() - 1}};
    shape.draft = engine::weights::DraftKind::kDspark;
    shape.draft_stages = draft_stages;
    shape.stage_ratios = draft_stages;
  }
  return shape;
}

std::int64_t StoredBytes(const ModelShape& shape) {
  std::int64_t bytes = 0;
  for (const engine::weights::TensorSpec& spec : engine::weights::ExpectedTensors(shape)) {
    bytes += spec.bytes();
  }
  return bytes;
}

absl::StatusOr<BenchCheckpoint> BenchCheckpoint::Prepare(const BenchOptions& options) {
  const ModelShape shape = BenchShape(options.checkpoint_bytes, options.draft_stages);
  const std::string marker = MarkerText(shape, options.seed);
  if (!options.folder.empty() && ReadText(options.folder / kMarker) == marker) {
    BenchCheckpoint found(options.folder, /*keep=*/true);
    found.reused_ = true;
    return found;
  }
  std::error_code error;
  const bool existed = !options.folder.empty() && std::filesystem::exists(options.folder, error);
  if (existed && !std::filesystem::is_empty(options.folder, error)) {
    return absl::FailedPreconditionError(
        absl::StrFormat("--folder %s: it holds something else than the checkpoint of these --bytes "
                        "and --seed: name an empty or a new folder",
                        options.folder.string()));
  }
  std::filesystem::path folder = options.folder;
  if (folder.empty()) {
    ASSIGN_OR_RETURN(folder, TemporaryFolder());
  } else if (std::filesystem::create_directories(folder, error); error) {
    return absl::UnavailableError(
        absl::StrFormat("--folder %s: cannot be made (%s)", folder.string(), error.message()));
  }
  BenchCheckpoint checkpoint(folder, options.keep);
  checkpoint.made_folder_ = !existed;
  RETURN_IF_ERROR(CheckSpace(folder, StoredBytes(shape)));
  engine::weights::GenerateOptions generate;
  generate.seed = options.seed;
  generate.threads = std::min(options.threads, kWriterThreadsMax);
  RETURN_IF_ERROR(engine::weights::GenerateCheckpoint(shape, folder, generate));
  std::ofstream(folder / kMarker, std::ios::binary) << marker;
  return checkpoint;
}

BenchCheckpoint::BenchCheckpoint(BenchCheckpoint&& other) noexcept
    : folder_(std::move(other.folder_)),
      keep_(std::exchange(other.keep_, true)),
      reused_(other.reused_),
      made_folder_(other.made_folder_) {}

BenchCheckpoint::~BenchCheckpoint() {
  if (keep_) {
    return;
  }
  std::error_code ignored;
  if (made_folder_) {
    std::filesystem::remove_all(folder_, ignored);
    return;
  }
  // It was empty before: what is in it now was written here.
  for (const auto& entry : std::filesystem::directory_iterator(folder_, ignored)) {
    std::filesystem::remove_all(entry, ignored);
  }
}

}  // namespace sparkspan::deploy::cli
