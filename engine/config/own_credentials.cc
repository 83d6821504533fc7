#include "engine/config/own_credentials.h"

#include <chrono>

#include "engine/base/log.h"
#include "engine/base/status.h"
#include "engine/identity/certificate.h"

namespace sparkspan::engine::config {
absl::StatusOr<std::optional<identity::Credentials>> OwnCredentials(const ClusterConfig& config,
                                                                    identity::Role role,
                                                                    const std::string& node) {
  const Tls& tls = config.control_tls;
  if (tls.plaintext) {
    return std::nullopt;
  }
  ASSIGN_OR_RETURN(identity::Credentials credentials,
                   identity::ReadCredentials({tls.authority, tls.certificate, tls.key}));
  const identity::WallTime now = std::chrono::system_clock::now();
  RETURN_IF_ERROR(
      CheckCredentials(credentials, identity::RoleName(role, node, config.cluster), now));
  ASSIGN_OR_RETURN(const identity::Certificate own,
                   identity::ReadCertificate(credentials.certificate, tls.certificate));
  if (const std::int64_t days = DaysLeft(own, now); days < identity::kExpiryWarningDays) {
    LOG(WARNING) << tls.certificate << " expires in " << days
                 << " days: issue a new one with `sparkspan certs` and start this node again";
  }
  return credentials;
}

std::vector<identity::Subject> CertificateSubjects(const ClusterConfig& config) {
  std::vector<identity::Subject> subjects;
  for (const NodeConfig& node : config.nodes) {
    identity::Subject& subject = subjects.emplace_back();
    subject.node = node.name;
    if (node.name == config.head) {
      subject.roles.push_back(identity::Role::kHead);
    }
    if (!node.ranks.empty()) {
      subject.roles.push_back(identity::Role::kWorker);
    }
    subject.addresses.push_back(fabric::ToString(node.control.address));
    if (node.bootstrap.address != node.control.address) {
      subject.addresses.push_back(fabric::ToString(node.bootstrap.address));
    }
  }
  return subjects;
}

}  // namespace sparkspan::engine::config
