#pragma once

#include <sstream>
#include <string>
#include <string_view>

// LOG(INFO) << "..."; CHECK(condition) << "...": the spelling of absl/log, which the Abseil of
// Debian 12 and Ubuntu 24.04's oldest supported release does not have yet, so that it can take
// this file's place. One line per message on stderr:
//   2026-11-24T10:20:30.123Z I sparkspan-worker[4711] rank=1 | message
// A message may hold anything but secrets; control characters are escaped.
namespace sparkspan::engine {

enum class LogSeverity { kInfo, kWarning, kError, kFatal };

// Names the process and its rank in every later line. Call once, before threads start.
void SetLogIdentity(std::string_view program, std::string_view rank);

// Messages below `severity` are dropped. Thread-safe.
void SetMinLogSeverity(LogSeverity severity);

namespace log_internal {

class Message {
 public:
  Message(LogSeverity severity, const char* file, int line);
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  ~Message();  // Writes the line; aborts when the severity is kFatal.

  std::ostream& stream() { return stream_; }

 private:
  LogSeverity severity_;
  const char* file_;
  int line_;
  std::ostringstream stream_;
};

// Turns the stream expression into void, so that CHECK can be a conditional expression.
struct Voidify {
  void operator&(std::ostream&) const {}
};

}  // namespace log_internal
}  // namespace sparkspan::engine

#define SPARKSPAN_LOG_INFO ::sparkspan::engine::LogSeverity::kInfo
#define SPARKSPAN_LOG_WARNING ::sparkspan::engine::LogSeverity::kWarning
#define SPARKSPAN_LOG_ERROR ::sparkspan::engine::LogSeverity::kError
#define SPARKSPAN_LOG_FATAL ::sparkspan::engine::LogSeverity::kFatal

#define LOG(severity) \
  ::sparkspan::engine::log_internal::Message(SPARKSPAN_LOG_##severity, __FILE__, __LINE__).stream()

// Our own invariants, checked in release builds too; aborts with the expression and the message.
#define CHECK(condition)                                                                        \
  (condition)                                                                                   \
      ? (void)0                                                                                 \
      : ::sparkspan::engine::log_internal::Voidify() &                                          \
            ::sparkspan::engine::log_internal::Message(SPARKSPAN_LOG_FATAL, __FILE__, __LINE__) \
                    .stream()                                                                   \
                << "CHECK failed: " #condition " "
#define CHECK_EQ(a, b) CHECK((a) == (b)) << "(" << (a) << " vs " << (b) << ") "
#define CHECK_LE(a, b) CHECK((a) <= (b)) << "(" << (a) << " vs " << (b) << ") "
#define CHECK_LT(a, b) CHECK((a) < (b)) << "(" << (a) << " vs " << (b) << ") "
#define CHECK_GE(a, b) CHECK((a) >= (b)) << "(" << (a) << " vs " << (b) << ") "
#define CHECK_GT(a, b) CHECK((a) > (b)) << "(" << (a) << " vs " << (b) << ") "
