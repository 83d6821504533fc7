#include "engine/base/log.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace sparkspan::engine {
namespace {

struct Identity {
  std::string program = "sparkspan";
  std::string rank;
};

Identity& MutableIdentity() {
  static Identity* identity = new Identity;  // Leaked: threads may log during exit.
  return *identity;
}

std::atomic<LogSeverity> min_severity{LogSeverity::kInfo};

char SeverityLetter(LogSeverity severity) {
  switch (severity) {
    case LogSeverity::kInfo:
      return 'I';
    case LogSeverity::kWarning:
      return 'W';
    case LogSeverity::kError:
      return 'E';
    case LogSeverity::kFatal:
      return 'F';
  }
  return '?';
}

std::string TimestampUtc() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto since_epoch =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch());
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char date[32];
  std::strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
  char text[48];
  std::snprintf(text, sizeof(text), "%s.%03dZ", date, static_cast<int>(since_epoch.count() % 1000));
  return text;
}

void AppendEscaped(std::string& line, std::string_view message) {
  for (const char c : message) {
    if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) {
      line += c;
      continue;
    }
    char escaped[8];
    std::snprintf(escaped, sizeof(escaped), "\\x%02x", static_cast<unsigned char>(c));
    line += escaped;
  }
}

}  // namespace

void SetLogIdentity(std::string_view program, std::string_view rank) {
  MutableIdentity() = Identity{std::string(program), std::string(rank)};
}

void SetMinLogSeverity(LogSeverity severity) {
  min_severity = severity;
}

namespace log_internal {

Message::Message(LogSeverity severity, const char* file, int line)
    : severity_(severity), file_(file), line_(line) {}

Message::~Message() {
  if (severity_ < min_severity.load() && severity_ != LogSeverity::kFatal) {
    return;
  }
  const Identity& identity = MutableIdentity();
  std::string line = TimestampUtc();
  line += ' ';
  line += SeverityLetter(severity_);
  line += ' ';
  line += identity.program;
  line += '[' + std::to_string(getpid()) + ']';
  if (!identity.rank.empty()) {
    line += " rank=" + identity.rank;
  }
  if (severity_ >= LogSeverity::kError) {
    line += ' ';
    line += file_;
    line += ':' + std::to_string(line_);
  }
  line += " | ";
  AppendEscaped(line, stream_.str());
  line += '\n';
  // One write per line, so that lines of several processes on one stderr do not interleave.
  // A failed write to stderr has nowhere to be reported.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  if (severity_ == LogSeverity::kFatal) {
    std::abort();
  }
}

}  // namespace log_internal
}  // namespace sparkspan::engine
