#include "engine/identity/certificate.h"

#include <openssl/asn1.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <memory>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/identity/openssl_objects.h"

namespace sparkspan::engine::identity {
namespace {

struct FreeNames {
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
};

// A part of the subject's name; empty when it has none of the kind.
std::string NamePart(X509* certificate, int kind) {
  std::array<char, 256> text{};
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), kind, text.data(), text.size());
  return text.data();
}

absl::StatusOr<WallTime> TimeOf(const ASN1_TIME* time, const std::string& what) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) {
    return OpensslError(what + " has a time that cannot be read");
  }
  return std::chrono::system_clock::from_time_t(timegm(&parts));
}

void ReadNames(X509* x509, Certificate* certificate) {
  const std::unique_ptr<GENERAL_NAMES, FreeNames> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(x509, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) {
      certificate->names.emplace_back(
          reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
          static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName)));
    } else if (name->type == GEN_IPADD && ASN1_STRING_length(name->d.iPAddress) == 4) {
      const unsigned char* bytes = ASN1_STRING_get0_data(name->d.iPAddress);
      certificate->addresses.push_back(
          absl::StrFormat("%d.%d.%d.%d", bytes[0], bytes[1], bytes[2], bytes[3]));
    }
  }
}

std::string DateText(WallTime time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &parts);
  return text.data();
}

}  // namespace

bool Certificate::HasName(const std::string& name) const {
  return std::find(names.begin(), names.end(), name) != names.end();
}

absl::StatusOr<Certificate> ReadCertificate(const std::string& pem, const std::string& what) {
  ASSIGN_OR_RETURN(const X509Ptr x509, CertificateFromPem(pem, what));
  Certificate certificate;
  certificate.subject = NamePart(x509.get(), NID_commonName);
  certificate.organisation = NamePart(x509.get(), NID_organizationName);
  ReadNames(x509.get(), &certificate);
  ASSIGN_OR_RETURN(certificate.not_before, TimeOf(X509_get0_notBefore(x509.get()), what));
  ASSIGN_OR_RETURN(certificate.not_after, TimeOf(X509_get0_notAfter(x509.get()), what));
  return certificate;
}

absl::Status CheckInForce(const Certificate& certificate, const std::string& what, WallTime now) {
  if (now > certificate.not_after) {
    return absl::FailedPreconditionError(
        absl::StrFormat("%s expired on %s; issue a new one with `sparkspan certs`",
                        what,
                        DateText(certificate.not_after)));
  }
  if (now < certificate.not_before) {
    return absl::FailedPreconditionError(
        absl::StrFormat("%s is valid from %s on, and this machine's clock says %s; set the clock",
                        what,
                        DateText(certificate.not_before),
                        DateText(now)));
  }
  return absl::OkStatus();
}

std::int64_t DaysLeft(const Certificate& certificate, WallTime now) {
  return std::chrono::floor<std::chrono::days>(certificate.not_after - now).count();
}

}  // namespace sparkspan::engine::identity
