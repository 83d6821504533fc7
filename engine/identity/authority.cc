#include "engine/identity/authority.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"

namespace sparkspan::engine::identity {
namespace {

constexpr std::chrono::hours kBackdated{24};
// X.520 lets each part of a name have 64 characters, as many as a cluster's name may have: so that
// one has a part of its own.
constexpr const char* kAuthorityName = "sparkspan authority";

struct SubjectName {
  std::string common_name;
  std::string organisation;  // empty: none
};

struct FreeExtension {
  void operator()(X509_EXTENSION* extension) const { X509_EXTENSION_free(extension); }
};
struct FreeNumber {
  void operator()(BIGNUM* number) const { BN_free(number); }
};

absl::Status AddExtension(X509* certificate, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, FreeExtension> extension(
      X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str()));
  if (extension == nullptr || X509_add_ext(certificate, extension.get(), -1) != 1) {
    return OpensslError(absl::StrFormat("extension %s of a certificate", value));
  }
  return absl::OkStatus();
}

// RFC 5280, 4.1.2.2: positive, unique for an issuer, at most 20 bytes.
absl::Status SetRandomSerial(X509* certificate) {
  const std::unique_ptr<BIGNUM, FreeNumber> number(BN_new());
  if (number == nullptr || BN_rand(number.get(), 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) != 1 ||
      BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) == nullptr) {
    return OpensslError("serial number of a certificate");
  }
  return absl::OkStatus();
}

absl::Status AddNamePart(X509_NAME* name, int kind, const std::string& text) {
  if (X509_NAME_add_entry_by_NID(name,
                                 kind,
                                 MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>(text.data()),
                                 static_cast<int>(text.size()),
                                 -1,
                                 0) != 1) {
    return OpensslError(absl::StrFormat("'%s' in the name of a certificate", text));
  }
  return absl::OkStatus();
}

absl::Status SetSubject(X509* certificate, const SubjectName& subject) {
  X509_NAME* name = X509_get_subject_name(certificate);
  if (!subject.organisation.empty()) {
    RETURN_IF_ERROR(AddNamePart(name, NID_organizationName, subject.organisation));
  }
  return AddNamePart(name, NID_commonName, subject.common_name);
}

// Version 3, with names, times and key; extensions and signature come after.
absl::StatusOr<X509Ptr> Draft(
    const SubjectName& subject, X509* issuer, EVP_PKEY* key, WallTime now, int days) {
  X509Ptr certificate(X509_new());
  RETURN_IF_ERROR(SetRandomSerial(certificate.get()));
  X509_set_version(certificate.get(), X509_VERSION_3);
  const WallTime begin = now - kBackdated;
  ASN1_TIME_set(X509_getm_notBefore(certificate.get()),
                std::chrono::system_clock::to_time_t(begin));
  ASN1_TIME_set(X509_getm_notAfter(certificate.get()),
                std::chrono::system_clock::to_time_t(now + std::chrono::hours(24) * days));
  X509_set_pubkey(certificate.get(), key);
  RETURN_IF_ERROR(SetSubject(certificate.get(), subject));
  X509_set_issuer_name(certificate.get(),
                       X509_get_subject_name(issuer == nullptr ? certificate.get() : issuer));
  return certificate;
}

absl::StatusOr<KeyPtr> NewKey() {
  KeyPtr key(EVP_EC_gen("P-256"));
  if (key == nullptr) {
    return OpensslError("a new key on P-256");
  }
  return key;
}

absl::Status Sign(X509* certificate, EVP_PKEY* key) {
  return X509_sign(certificate, key, EVP_sha256()) > 0 ? absl::OkStatus()
                                                       : OpensslError("signing a certificate");
}

std::string AlternativeNames(const Subject& subject, const std::string& cluster) {
  std::string names;
  for (const Role role : subject.roles) {
    names += (names.empty() ? "DNS:" : ",DNS:") + RoleName(role, subject.node, cluster);
  }
  for (const std::string& address : subject.addresses) {
    names += ",IP:" + address;
  }
  return names;
}

// A worker listens and a head connects: a certificate is of no use in the other direction.
std::string KeyUsage(const Subject& subject) {
  const auto has = [&](Role role) {
    return std::find(subject.roles.begin(), subject.roles.end(), role) != subject.roles.end();
  };
  std::string usage = has(Role::kHead) ? "clientAuth" : "";
  if (has(Role::kWorker)) {
    usage += usage.empty() ? "serverAuth" : ",serverAuth";
  }
  return usage;
}

}  // namespace

absl::StatusOr<Authority> Authority::Create(const std::string& cluster, WallTime now, int days) {
  Authority authority;
  authority.cluster_ = cluster;
  ASSIGN_OR_RETURN(authority.key_, NewKey());
  ASSIGN_OR_RETURN(authority.certificate_,
                   Draft({kAuthorityName, cluster}, nullptr, authority.key_.get(), now, days));
  X509* certificate = authority.certificate_.get();
  RETURN_IF_ERROR(
      AddExtension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0"));
  RETURN_IF_ERROR(
      AddExtension(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign"));
  RETURN_IF_ERROR(AddExtension(certificate, certificate, NID_subject_key_identifier, "hash"));
  RETURN_IF_ERROR(Sign(certificate, authority.key_.get()));
  authority.pair_ = {ToPem(*certificate), ToPem(*authority.key_)};
  return authority;
}

absl::StatusOr<Authority> Authority::Load(const KeyPair& pair) {
  Authority authority;
  ASSIGN_OR_RETURN(authority.certificate_,
                   CertificateFromPem(pair.certificate, "the authority's certificate"));
  ASSIGN_OR_RETURN(authority.key_, KeyFromPem(pair.key, "the authority's key"));
  ASSIGN_OR_RETURN(const Certificate read,
                   ReadCertificate(pair.certificate, "the authority's certificate"));
  if (X509_check_private_key(authority.certificate_.get(), authority.key_.get()) != 1 ||
      X509_check_ca(authority.certificate_.get()) == 0) {
    return OpensslError("the authority's certificate and key do not belong together");
  }
  if (read.subject != kAuthorityName || read.organisation.empty()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "the authority's certificate is of '%s', organisation '%s'; expected '%s' and a cluster's "
        "name: remove both of the authority's files to make a new one",
        read.subject,
        read.organisation,
        kAuthorityName));
  }
  authority.cluster_ = read.organisation;
  authority.pair_ = pair;
  return authority;
}

absl::StatusOr<KeyPair> Authority::Issue(const Subject& subject, WallTime now, int days) const {
  if (subject.roles.empty()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("node %s is neither the head's nor a rank's", subject.node));
  }
  ASSIGN_OR_RETURN(const KeyPtr key, NewKey());
  ASSIGN_OR_RETURN(const X509Ptr certificate,
                   Draft({subject.node, ""}, certificate_.get(), key.get(), now, days));
  X509* issuer = certificate_.get();
  for (const auto& [kind, value] :
       {std::pair(NID_basic_constraints, std::string("critical,CA:FALSE")),
        std::pair(NID_key_usage, std::string("critical,digitalSignature")),
        std::pair(NID_ext_key_usage, KeyUsage(subject)),
        std::pair(NID_authority_key_identifier, std::string("keyid:always")),
        std::pair(NID_subject_alt_name, AlternativeNames(subject, cluster_))}) {
    RETURN_IF_ERROR(AddExtension(certificate.get(), issuer, kind, value));
  }
  RETURN_IF_ERROR(Sign(certificate.get(), key_.get()));
  return KeyPair{ToPem(*certificate), ToPem(*key)};
}

}  // namespace sparkspan::engine::identity
