#include "kernels/simt/access_log.h"

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <string_view>

namespace sparkspan::kernels::emulator {
namespace {

constexpr std::size_t kWordBytes = 4;
constexpr std::size_t kBanks = 32;
constexpr int kWarpLanes = 32;
// Instructions remembered per access site: enough for small tests, bounded for large ones.
constexpr std::size_t kInstructionsPerSiteMax = 256;

std::uint8_t MaskOf(std::size_t word, std::size_t begin, std::size_t end) {
  std::uint8_t mask = 0;
  for (std::size_t byte = 0; byte < kWordBytes; ++byte) {
    const std::size_t at = word * kWordBytes + byte;
    if (at >= begin && at < end) {
      mask = static_cast<std::uint8_t>(mask | (1U << byte));
    }
  }
  return mask;
}

const char* NameOf(AccessLog::Kind kind) {
  switch (kind) {
    case AccessLog::Kind::kRead:
      return "reads";
    case AccessLog::Kind::kWrite:
      return "writes";
    case AccessLog::Kind::kAtomic:
      return "updates";
  }
  return "touches";
}

bool Conflict(AccessLog::Kind a, AccessLog::Kind b) {
  if (a == AccessLog::Kind::kAtomic && b == AccessLog::Kind::kAtomic) {
    return false;
  }
  return a != AccessLog::Kind::kRead || b != AccessLog::Kind::kRead;
}

}  // namespace

AccessLog::AccessLog(std::size_t shared_bytes, Report* report)
    : words_((shared_bytes + kWordBytes - 1) / kWordBytes), report_(report) {}

void AccessLog::Check(const Access& access, Word& word, std::uint8_t mask) {
  const std::uint32_t moment = (*access.clock)[static_cast<std::size_t>(access.lane)];
  bool known = false;
  for (const Touch& touch : word.touches) {
    if ((touch.bytes_mask & mask) == 0) {
      continue;
    }
    if (touch.lane == access.lane) {
      known = known || (touch.kind == access.kind && touch.moment == moment &&
                        (touch.bytes_mask & mask) == mask);
      continue;
    }
    const bool ordered = (*access.clock)[static_cast<std::size_t>(touch.lane)] >= touch.moment;
    if (!ordered && Conflict(touch.kind, access.kind)) {
      report_->Add(Fault::kRace,
                   "race: lane " + std::to_string(access.lane) + " " + NameOf(access.kind) +
                       " shared byte " + std::to_string(access.offset) + " at " +
                       PlaceName(access.where) + ", lane " + std::to_string(touch.lane) + " " +
                       NameOf(touch.kind) + " it at " + PlaceName(touch.where) +
                       " with no barrier between");
      known = true;
      break;
    }
  }
  if (known) {
    return;
  }
  // A write that saw everything before it makes the older touches redundant.
  if (access.kind == Kind::kWrite) {
    std::erase_if(word.touches, [&](const Touch& touch) {
      return (touch.bytes_mask & ~mask) == 0 &&
             (touch.lane == access.lane ||
              (*access.clock)[static_cast<std::size_t>(touch.lane)] >= touch.moment);
    });
  }
  word.touches.push_back(
      {static_cast<std::int16_t>(access.lane), access.kind, mask, moment, access.where});
}

void AccessLog::Record(const Access& access) {
  const std::size_t end = access.offset + access.bytes;
  for (std::size_t at = access.offset / kWordBytes; at * kWordBytes < end; ++at) {
    Word& word = words_[at];
    if (word.in_flight > 0) {
      report_->Add(Fault::kInFlight,
                   "in flight: lane " + std::to_string(access.lane) + " " + NameOf(access.kind) +
                       " shared byte " + std::to_string(access.offset) + " at " +
                       PlaceName(access.where) + " before the copy into it was waited for");
      return;
    }
    Check(access, word, MaskOf(at, access.offset, end));
  }
  NoteForBanks(access);
}

void AccessLog::Depart(const Access& access) {
  const std::size_t end = access.offset + access.bytes;
  for (std::size_t at = access.offset / kWordBytes; at * kWordBytes < end; ++at) {
    Word& word = words_[at];
    Check(access, word, MaskOf(at, access.offset, end));
    ++word.in_flight;
  }
}

void AccessLog::Land(const Access& access) {
  const std::size_t end = access.offset + access.bytes;
  for (std::size_t at = access.offset / kWordBytes; at * kWordBytes < end; ++at) {
    Word& word = words_[at];
    --word.in_flight;
    Check(access, word, MaskOf(at, access.offset, end));
  }
}

void AccessLog::NoteForBanks(const Access& access) {
  const Site site{access.where.file_name(),
                  access.where.line(),
                  access.where.column(),
                  access.lane / kWarpLanes};
  SiteLog& log = sites_[site];
  const auto nth = static_cast<std::size_t>(
      log.executions[static_cast<std::size_t>(access.lane % kWarpLanes)]++);
  if (nth >= kInstructionsPerSiteMax) {
    return;
  }
  if (nth >= log.instructions.size()) {
    log.instructions.resize(nth + 1);
  }
  log.instructions[nth].bytes = access.bytes;
  log.instructions[nth].lanes.emplace_back(access.lane % kWarpLanes, access.offset);
}

void AccessLog::CountBankConflicts() {
  for (auto& [site, log] : sites_) {
    std::uint64_t extra = 0;
    for (Instruction& instruction : log.instructions) {
      // 16-byte accesses go out as four groups of eight lanes, 8-byte ones as two of sixteen.
      const std::size_t width = std::max<std::size_t>(instruction.bytes, kWordBytes);
      const int group_lanes =
          static_cast<int>(kBanks * kWordBytes / std::min<std::size_t>(width, 16));
      std::map<int, std::array<std::set<std::size_t>, kBanks>> groups;
      for (const auto& [lane, offset] : instruction.lanes) {
        for (std::size_t at = offset / kWordBytes; at * kWordBytes < offset + instruction.bytes;
             ++at) {
          groups[lane / group_lanes][at % kBanks].insert(at);
        }
      }
      for (const auto& [group, banks] : groups) {
        std::size_t wavefronts = 1;
        for (const auto& words : banks) {
          wavefronts = std::max(wavefronts, words.size());
        }
        extra += wavefronts - 1;
      }
    }
    if (extra > 0) {
      const std::string_view path = site.file;
      const std::size_t slash = path.rfind('/');
      const std::string name(slash == std::string_view::npos ? path : path.substr(slash + 1));
      report_->bank_conflicts[name + ":" + std::to_string(site.line)] += extra;
    }
  }
}

}  // namespace sparkspan::kernels::emulator
