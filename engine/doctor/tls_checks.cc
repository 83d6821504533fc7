#include <algorithm>
#include <string>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/config/own_credentials.h"
#include "engine/doctor/examination.h"
#include "engine/identity/credentials.h"
#include "engine/identity/role.h"

namespace sparkspan::engine::doctor {
namespace {

constexpr unsigned kOthersMode = 077;
constexpr const char* kIssue = "run `sparkspan certs`, copy this node's folder, start it again";

// False after a finding that the file cannot be read.
bool IsReadable(const char* id, const PemFile& file, Report* report) {
  if (file.text.has_value()) {
    return true;
  }
  if (file.is_denied) {
    report->Fail(id,
                 file.path,
                 "this user may not read it, so it has not been looked at",
                 "a user that may",
                 "run the doctor as root, or as the user of the daemons, whose file it must be");
  } else {
    report->Fail(id, file.path, "it cannot be read", "a PEM file", kIssue);
  }
  return false;
}

void Judge(const char* id,
           const PemFile& file,
           const absl::Status& status,
           const std::string& found,
           Report* report) {
  if (status.ok()) {
    report->Pass(id, file.path, found);
  } else {
    report->Fail(id, file.path, std::string(status.message()), "one that peers accept", kIssue);
  }
}

void CheckCertificate(const TlsFacts& tls, Report* report) {
  if (!IsReadable("tls.certificate", tls.certificate, report)) {
    return;
  }
  const auto certificate = identity::ReadCertificate(*tls.certificate.text, "the certificate");
  absl::Status status = certificate.status();
  if (certificate.ok()) {
    status = CheckInForce(*certificate, "the certificate", tls.now);
  }
  const std::int64_t days = certificate.ok() ? DaysLeft(*certificate, tls.now) : 0;
  const std::string found = absl::StrFormat("expires in %d days", days);
  if (status.ok() && days < identity::kExpiryWarningDays) {
    report->Warn("tls.certificate",
                 tls.certificate.path,
                 found,
                 absl::StrFormat("%d days or more", identity::kExpiryWarningDays),
                 kIssue);
  } else {
    Judge("tls.certificate", tls.certificate, status, found, report);
  }
}

void CheckAuthority(const TlsFacts& tls, Report* report) {
  if (!IsReadable("tls.authority", tls.authority, report)) {
    return;
  }
  const auto check = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const identity::Certificate authority,
                     identity::ReadCertificate(*tls.authority.text, "the authority"));
    RETURN_IF_ERROR(CheckInForce(authority, "the authority", tls.now));
    return tls.certificate.text.has_value()
               ? identity::CheckSignature(*tls.certificate.text, *tls.authority.text)
               : absl::OkStatus();
  };
  Judge("tls.authority", tls.authority, check(), "it signed this node's certificate", report);
}

void CheckPrivateKey(const TlsFacts& tls, Report* report) {
  if (!IsReadable("tls.key", tls.key, report)) {
    return;
  }
  if ((tls.key.mode & kOthersMode) != 0) {
    report->Fail("tls.key",
                 tls.key.path,
                 absl::StrFormat("mode %03o: others than its owner may read it", tls.key.mode),
                 "mode 600",
                 "chmod 600 " + tls.key.path);
    return;
  }
  Judge("tls.key",
        tls.key,
        tls.certificate.text.has_value() ? identity::CheckKey(*tls.certificate.text, *tls.key.text)
                                         : absl::OkStatus(),
        "it belongs to the certificate",
        report);
}

// That the certificate is for what cluster.yaml says of this node: its roles and its addresses.
void CheckNames(const Examination& examination, const TlsFacts& tls, Report* report) {
  const auto certificate = tls.certificate.text.has_value()
                               ? identity::ReadCertificate(*tls.certificate.text, "the certificate")
                               : absl::NotFoundError("");
  if (!certificate.ok()) {
    report->Skip("tls.names", "there is no certificate to read");
    return;
  }
  std::string missing;
  for (const identity::Subject& subject : CertificateSubjects(examination.config)) {
    if (subject.node != examination.node.name) {
      continue;
    }
    for (const identity::Role role : subject.roles) {
      const std::string name = RoleName(role, subject.node, examination.config.cluster);
      missing += certificate->HasName(name) ? "" : (missing.empty() ? "" : ", ") + name;
    }
    for (const std::string& address : subject.addresses) {
      const auto& held = certificate->addresses;
      const bool is_held = std::find(held.begin(), held.end(), address) != held.end();
      missing += is_held ? "" : (missing.empty() ? "" : ", ") + address;
    }
  }
  if (missing.empty()) {
    report->Pass("tls.names", tls.certificate.path, "this node's roles and addresses");
  } else {
    report->Fail("tls.names",
                 tls.certificate.path,
                 "it is not for " + missing,
                 "this node's roles and declared addresses",
                 kIssue);
  }
}

}  // namespace

void CheckTls(const Examination& examination, Report* report) {
  if (!examination.facts.tls.has_value()) {
    for (const char* id : {"tls.certificate", "tls.authority", "tls.key", "tls.names"}) {
      report->Skip(id, "control_tls is plaintext");
    }
    return;
  }
  const TlsFacts& tls = *examination.facts.tls;
  CheckCertificate(tls, report);
  CheckAuthority(tls, report);
  CheckPrivateKey(tls, report);
  CheckNames(examination, tls, report);
}

}  // namespace sparkspan::engine::doctor
