#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/identity/certificate.h"
#include "engine/identity/openssl_objects.h"
#include "engine/identity/role.h"

namespace sparkspan::engine::identity {

// A certificate and its private key, both PEM.
struct KeyPair {
  std::string certificate;
  std::string key;
};

// Whom a certificate is for.
struct Subject {
  std::string node;
  std::vector<Role> roles;             // at least one
  std::vector<std::string> addresses;  // IPv4: the node's pinned ones
};

// A cluster's own certificate authority: signs one certificate for each node, and nothing else is
// trusted on the control plane. Keys are ECDSA on P-256. Certificates are valid from a day before
// they were made, as the clocks of machines that have just booted differ.
class Authority {
 public:
  static absl::StatusOr<Authority> Create(const std::string& cluster, WallTime now, int days);
  // From what an earlier Create gave.
  static absl::StatusOr<Authority> Load(const KeyPair& pair);

  absl::StatusOr<KeyPair> Issue(const Subject& subject, WallTime now, int days) const;

  const KeyPair& pair() const { return pair_; }
  const std::string& cluster() const { return cluster_; }

 private:
  Authority() = default;

  std::string cluster_;
  KeyPair pair_;
  X509Ptr certificate_;
  KeyPtr key_;
};

}  // namespace sparkspan::engine::identity
