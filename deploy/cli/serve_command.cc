#include "deploy/cli/serve_command.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "deploy/cli/serve_options.h"
#include "deploy/cli/supervisor.h"
#include "engine/base/service_notifier.h"
#include "engine/base/status.h"
#include "engine/config/write_cluster_config.h"
#include "engine/fabric/port_claims.h"
#include "engine/runtime/plan_check.h"
#include "engine/weights/checkpoint.h"

namespace sparkspan::deploy::cli {
namespace {

using engine::fabric::PortClaims;

constexpr std::int64_t kContextDefault = 32'768;
constexpr std::int64_t kKvBlockTokens = 256;
constexpr std::chrono::minutes kStepTimeout{15};
constexpr std::chrono::seconds kSilenceLimit{10};
// The head drains for 30 s of it; then come the workers.
constexpr std::chrono::seconds kStopGrace{40};

// A folder that only this user can read, gone when the object is.
class PrivateFolder {
 public:
  static absl::StatusOr<PrivateFolder> Make() {
    std::string path = (std::filesystem::temp_directory_path() / "sparkspan-XXXXXX").string();
    if (mkdtemp(path.data()) == nullptr) {
      return absl::UnavailableError(absl::StrFormat("cannot make a folder like %s", path));
    }
    return PrivateFolder(path);
  }
  PrivateFolder(PrivateFolder&& other) noexcept : path_(std::exchange(other.path_, "")) {}
  PrivateFolder& operator=(PrivateFolder&&) = delete;
  ~PrivateFolder() {
    std::error_code ignored;
    if (!path_.empty()) {
      std::filesystem::remove_all(path_, ignored);
    }
  }
  const std::string& path() const { return path_; }

 private:
  explicit PrivateFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// Fills in what the flags leave to the checkpoint and to this moment.
absl::Status Complete(ServeOptions* options) {
  engine::config::LocalCluster& cluster = options->cluster;
  cluster.model.path = std::filesystem::absolute(cluster.model.path).lexically_normal().string();
  ASSIGN_OR_RETURN(const auto checkpoint, engine::weights::Checkpoint::Open(cluster.model.path));
  if (cluster.model.served_names.empty()) {
    std::filesystem::path path = cluster.model.path;
    cluster.model.served_names = {(path.has_filename() ? path : path.parent_path()).filename()};
  }
  engine::config::Limits& limits = cluster.limits;
  const std::int64_t context_max = checkpoint->generation().context_tokens_max;
  if (!options->has_context_length) {
    limits.context_length = std::min(context_max, kContextDefault);
  } else if (limits.context_length > context_max) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--max-model-len %d: this checkpoint was made for at most %d tokens",
                        limits.context_length,
                        context_max));
  }
  if (!options->has_kv_tokens) {
    // Drafts may write a block of them and one more row behind the last token.
    constexpr std::int64_t kDraftRowsMax = engine::runtime::PlanLimits::kDraftTokensMax + 1;
    const std::int64_t blocks =
        (limits.context_length + kDraftRowsMax + kKvBlockTokens - 1) / kKvBlockTokens;
    limits.kv_tokens = limits.sequences * blocks * kKvBlockTokens;
  }
  return absl::OkStatus();
}

// Ports of loopback for the workers, theirs for as long as the claims live.
absl::StatusOr<PortClaims> ClaimWorkerPorts(ServeOptions* options) {
  engine::config::LocalCluster& cluster = options->cluster;
  const auto ranks = static_cast<std::size_t>(options->ranks);
  ASSIGN_OR_RETURN(PortClaims claims,
                   PortClaims::Make({"lo", {0x7F000001}}, 2 * ranks, cluster.api.port));
  const std::vector<std::uint16_t>& ports = claims.ports();
  const auto middle = ports.begin() + static_cast<std::ptrdiff_t>(ranks);
  cluster.control_ports.assign(ports.begin(), middle);
  cluster.data_ports.assign(middle, ports.end());
  return claims;
}

absl::Status Serve(ServeOptions options) {
  RETURN_IF_ERROR(Complete(&options));
  ASSIGN_OR_RETURN(const PortClaims ports, ClaimWorkerPorts(&options));
  ASSIGN_OR_RETURN(engine::config::ClusterConfig config,
                   engine::config::MakeLocalConfig(options.cluster));
  // A step of many prompt tokens of a large model takes minutes on a CPU.
  config.timeouts.step_ms = std::chrono::milliseconds(kStepTimeout).count();
  // Local processes that die close their sockets: silence only means that the machine is busy.
  config.timeouts.silence_ms = std::chrono::milliseconds(kSilenceLimit).count();
  ASSIGN_OR_RETURN(const PrivateFolder folder, PrivateFolder::Make());
  const std::string file = folder.path() + "/cluster.yaml";
  std::ofstream(file) << engine::config::ToYaml(config);

  const std::filesystem::path programs =
      std::filesystem::read_symlink("/proc/self/exe").parent_path();
  std::vector<Program> started;
  for (int rank = 0; rank < options.ranks; ++rank) {
    started.push_back({absl::StrFormat("worker %d", rank),
                       programs / "sparkspan-worker",
                       {"--cluster", file, "--rank", std::to_string(rank)}});
  }
  started.push_back({"head", programs / "sparkspan-head", {"--cluster", file}});
  ASSIGN_OR_RETURN(
      Supervisor supervisor,
      Supervisor::Start(started, /*restarts=*/{}, engine::ServiceNotifier::FromEnvironment()));
  return supervisor.Run(kStopGrace);
}

}  // namespace

int RunServeCommand(std::span<const std::string_view> args) {
  if (std::find(args.begin(), args.end(), "--help") != args.end()) {
    std::cout << kServeUsage;
    return 0;
  }
  absl::StatusOr<ServeOptions> options = ParseServeOptions(args);
  if (!options.ok()) {
    std::cerr << "serve: " << options.status().message() << "\n\n" << kServeUsage;
    return 2;
  }
  const absl::Status status = Serve(*std::move(options));
  if (!status.ok()) {
    std::cerr << "serve: " << status.message() << "\n";
    return 1;
  }
  return 0;
}

}  // namespace sparkspan::deploy::cli
