#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// What the doctor says. Identifiers and exit codes are stable: scripts rely on them.
namespace sparkspan::engine::doctor {

enum class Outcome : std::uint8_t {
  kPass,
  kInfo,     // Worth knowing, nothing to do.
  kSkipped,  // Could not be looked at here; `found` says why.
  kWarning,  // Works, but slower or less safely than it could.
  kFailure   // Will not work.
};

std::string_view ToString(Outcome outcome);

struct Finding {
  std::string id;  // "interface.link"; docs/doctor.md lists all
  Outcome outcome = Outcome::kPass;
  std::string subject;  // what was looked at: "enp1s0f1np1 (bootstrap)"; may be empty
  std::string found;
  std::string expected;   // of warnings and failures
  std::string next_step;  // of warnings and failures: one

  bool operator==(const Finding&) const = default;
};

// The findings of one examination, in the order of the checks.
class Report {
 public:
  void Pass(std::string_view id, std::string subject, std::string found);
  void Info(std::string_view id, std::string subject, std::string found);
  void Skip(std::string_view id, std::string why);
  void Add(Finding finding) { findings_.push_back(std::move(finding)); }
  void Warn(std::string_view id,
            std::string subject,
            std::string found,
            std::string expected,
            std::string next_step);
  void Fail(std::string_view id,
            std::string subject,
            std::string found,
            std::string expected,
            std::string next_step);

  const std::vector<Finding>& findings() const { return findings_; }
  int Count(Outcome outcome) const;

  // 0 without warnings and failures, 3 with warnings only, 4 with a failure. (1: the examination
  // itself could not be made; 2: wrong arguments.)
  int ExitCode() const;

 private:
  std::vector<Finding> findings_;
};

inline constexpr int kExitWarnings = 3;
inline constexpr int kExitFailures = 4;

// Failures and warnings first, then what was skipped; with `verbose` also what passed.
std::string ToText(const Report& report, const std::string& node, bool verbose);

// {"version": 1, "node": ..., "exit_code": ..., "findings": [...]}: all of them.
std::string ToJson(const Report& report, const std::string& node);

}  // namespace sparkspan::engine::doctor
