#include "deploy/cli/certs_command.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "deploy/cli/flags.h"
#include "engine/base/status.h"
#include "engine/base/unique_fd.h"
#include "engine/config/own_credentials.h"
#include "engine/config/parse_cluster_config.h"
#include "engine/identity/authority.h"

namespace sparkspan::deploy::cli {
namespace {

using engine::identity::Authority;
using engine::identity::KeyPair;

constexpr const char* kUsage = R"(usage: sparkspan certs --cluster FILE --out DIR [--days N]

Makes what the control plane's TLS needs for the cluster that FILE (cluster.yaml) describes:

  DIR/authority.pem, authority.key   the cluster's own authority; kept if they are there already
  DIR/NODE/authority.pem             \
  DIR/NODE/node.pem                   > copy the folder to NODE, where control_tls names it
  DIR/NODE/node.key                  /

authority.key can make new members of the cluster: keep it off the nodes. Nodes that have a
certificate in DIR get a new one; the daemons read it when they start.

  --days N    how long the nodes' certificates are valid (825); the authority's is for ten years
)";

constexpr int kAuthorityDays = 3650;

struct Options {
  std::string cluster;
  std::string out;
  std::int32_t days = 825;
};

// A new file in place of an old one, so that no moment shows half of it.
absl::Status WriteFile(const std::filesystem::path& path, const std::string& text, mode_t mode) {
  const std::string temporary = path.string() + ".new";
  unlink(temporary.c_str());
  const engine::UniqueFd file(
      open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!file.valid() ||
      write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      fsync(file.get()) != 0 || rename(temporary.c_str(), path.c_str()) != 0) {
    return absl::UnavailableError(
        absl::StrFormat("cannot write %s: %s", path.string(), std::strerror(errno)));
  }
  return absl::OkStatus();
}

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

absl::StatusOr<Authority> LoadOrCreate(const std::filesystem::path& folder,
                                       const std::string& cluster,
                                       engine::identity::WallTime now) {
  const std::filesystem::path certificate = folder / "authority.pem";
  const std::filesystem::path key = folder / "authority.key";
  if (std::filesystem::exists(key)) {
    ASSIGN_OR_RETURN(Authority authority, Authority::Load({ReadFile(certificate), ReadFile(key)}));
    if (authority.cluster() != cluster) {
      return absl::FailedPreconditionError(
          absl::StrFormat("%s is of cluster %s, cluster.yaml of %s; give another --out",
                          certificate.string(),
                          authority.cluster(),
                          cluster));
    }
    return authority;
  }
  ASSIGN_OR_RETURN(Authority authority, Authority::Create(cluster, now, kAuthorityDays));
  RETURN_IF_ERROR(WriteFile(key, authority.pair().key, 0600));
  RETURN_IF_ERROR(WriteFile(certificate, authority.pair().certificate, 0644));
  return authority;
}

absl::Status MakeFolder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return absl::UnavailableError(
        absl::StrFormat("cannot make %s: %s", folder.string(), error.message()));
  }
  return absl::OkStatus();
}

absl::Status MakeCertificates(const Options& options) {
  ASSIGN_OR_RETURN(const engine::config::ClusterConfig config,
                   engine::config::ReadClusterConfig(options.cluster));
  const engine::identity::WallTime now = std::chrono::system_clock::now();
  const std::filesystem::path out = options.out;
  RETURN_IF_ERROR(MakeFolder(out));
  ASSIGN_OR_RETURN(const Authority authority, LoadOrCreate(out, config.cluster, now));
  for (const engine::identity::Subject& subject : CertificateSubjects(config)) {
    ASSIGN_OR_RETURN(const KeyPair pair, authority.Issue(subject, now, options.days));
    const std::filesystem::path folder = out / subject.node;
    RETURN_IF_ERROR(MakeFolder(folder));
    RETURN_IF_ERROR(WriteFile(folder / "node.key", pair.key, 0600));
    RETURN_IF_ERROR(WriteFile(folder / "node.pem", pair.certificate, 0644));
    RETURN_IF_ERROR(WriteFile(folder / "authority.pem", authority.pair().certificate, 0644));
    std::cout << folder.string() << ": valid for " << options.days << " days\n";
  }
  return absl::OkStatus();
}

}  // namespace

int RunCertsCommand(std::span<const std::string_view> args) {
  if (std::find(args.begin(), args.end(), "--help") != args.end()) {
    std::cout << kUsage;
    return 0;
  }
  Options options;
  absl::Status status = ParseFlags(args,
                                   {{"--cluster", TextFlag(&options.cluster)},
                                    {"--out", TextFlag(&options.out)},
                                    {"--days", IntegerFlag(&options.days, 1, 36'500)}});
  if (status.ok() && (options.cluster.empty() || options.out.empty())) {
    status = absl::InvalidArgumentError("--cluster and --out must be given");
  }
  if (!status.ok()) {
    std::cerr << "certs: " << status.message() << "\n\n" << kUsage;
    return 2;
  }
  status = MakeCertificates(options);
  if (!status.ok()) {
    std::cerr << "certs: " << status.message() << "\n";
    return 1;
  }
  return 0;
}

}  // namespace sparkspan::deploy::cli
