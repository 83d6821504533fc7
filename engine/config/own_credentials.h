#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/config/cluster_config.h"
#include "engine/identity/authority.h"
#include "engine/identity/credentials.h"
#include "engine/identity/role.h"

namespace sparkspan::engine::config {

// What a process on `node` proves itself with on the control plane: control_tls's files, read and
// checked to carry the role. Empty where cluster.yaml asks for plaintext. Warns of a certificate
// that expires within a month.
absl::StatusOr<std::optional<identity::Credentials>> OwnCredentials(const ClusterConfig& config,
                                                                    identity::Role role,
                                                                    const std::string& node);

// Whom each node's certificate is for, in the order of the nodes.
std::vector<identity::Subject> CertificateSubjects(const ClusterConfig& config);

}  // namespace sparkspan::engine::config
