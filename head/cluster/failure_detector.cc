#include "head/cluster/failure_detector.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_format.h"

namespace sparkspan::head::cluster {
namespace {

double Seconds(engine::Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

FailureDetector::FailureDetector(std::vector<std::string> names, engine::Duration silence_limit)
    : names_(std::move(names)),
      silence_limit_(silence_limit),
      silence_(names_.size(), silence_limit),
      ranks_(names_.size()) {}

void FailureDetector::Begin(engine::Time now) {
  silence_ = engine::SilenceDetector(names_.size(), silence_limit_);
  for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
    ranks_[rank] = {};
    ranks_[rank].moved = now;
    silence_.Hear(rank, now);
  }
}

void FailureDetector::Hear(engine::Rank rank, engine::Time at) {
  silence_.Hear(Index(rank), at);
}

void FailureDetector::Hear(engine::Rank rank,
                           const engine::runtime::RankPosition& position,
                           engine::Time at) {
  Hear(rank, at);
  Watched& watched = ranks_[Index(rank)];
  // A pulse may have been read just before the result that it follows.
  if (position.IsAheadOf(watched.position)) {
    watched.position = position;
    watched.moved = at;
  }
}

void FailureDetector::HearResult(engine::Rank rank, engine::Step step, engine::Time at) {
  engine::runtime::RankPosition position = ranks_[Index(rank)].position;
  position.begun = position.finished = step;
  position.exchanging = false;
  Hear(rank, position, at);
}

void FailureDetector::End(engine::Rank rank, const LinkEnd& end, engine::Time at) {
  Watched& watched = ranks_[Index(rank)];
  if (!watched.end.has_value()) {
    watched.end = end;
    watched.ended = at;
  }
  silence_.Forget(Index(rank));
}

RankFate FailureDetector::FateOf(const Watched& rank) const {
  if (!rank.end.has_value()) {
    return RankFate::kAlive;
  }
  if (!rank.end->said) {
    return RankFate::kLost;
  }
  return rank.end->blamed.has_value() ? RankFate::kAlive : RankFate::kFailed;
}

std::optional<EpochLoss> FailureDetector::Judge(engine::Time now) {
  for (const std::size_t rank : silence_.Silent(now)) {
    LinkEnd end;
    end.why = absl::UnavailableError(absl::StrFormat("it has given no sign of life for %.2f s",
                                                     Seconds(*silence_.SilentFor(rank, now))));
    End(engine::Rank(static_cast<std::int32_t>(rank)), end, now);
  }
  std::optional<engine::Time> first_report;
  for (const Watched& rank : ranks_) {
    if (FateOf(rank) != RankFate::kAlive) {
      return Condemn();
    }
    if (rank.end.has_value()) {
      first_report = std::min(first_report.value_or(rank.ended), rank.ended);
    }
  }
  // A machine that died just before the report is found silent within the limit and a look.
  if (first_report.has_value() && now - *first_report > silence_limit_ + silence_limit_ / 4) {
    return BlameConnection();
  }
  return std::nullopt;
}

EpochLoss FailureDetector::Condemn() const {
  EpochLoss loss;
  loss.details.resize(ranks_.size());
  for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
    const RankFate fate = FateOf(ranks_[rank]);
    loss.fates.push_back(fate);
    if (fate == RankFate::kAlive) {
      continue;
    }
    loss.details[rank] = std::string(ranks_[rank].end->why.message());
    loss.summary += absl::StrFormat("%s%s %s: %s",
                                    loss.summary.empty() ? "" : "; ",
                                    names_[rank],
                                    fate == RankFate::kLost ? "is lost" : "failed",
                                    loss.details[rank]);
  }
  return loss;
}

EpochLoss FailureDetector::BlameConnection() const {
  // The report that says most is of two ranks that blame each other, or of one whose peer noticed
  // nothing; a rank that gave up after losing a third one is blamed too, but blames that one.
  std::size_t accuser = ranks_.size();
  for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
    if (!ranks_[rank].end.has_value()) {
      continue;
    }
    const Watched& accused = ranks_[Index(*ranks_[rank].end->blamed)];
    const bool is_mutual = !accused.end.has_value() || Index(*accused.end->blamed) == rank;
    if (accuser == ranks_.size() || is_mutual) {
      accuser = rank;
      if (is_mutual) {
        break;
      }
    }
  }
  const LinkEnd& report = *ranks_[accuser].end;
  const std::size_t accused = Index(*report.blamed);
  EpochLoss loss;
  loss.fates.assign(ranks_.size(), RankFate::kAlive);
  loss.details.resize(ranks_.size());
  loss.details[accuser] = absl::StrFormat("no data connection to rank %d", accused);
  loss.details[accused] = absl::StrFormat("no data connection to rank %d", accuser);
  loss.summary =
      absl::StrFormat("the data connection between %s and %s broke, while both answer the head: %s",
                      names_[accuser],
                      names_[accused],
                      report.why.message());
  return loss;
}

std::vector<engine::Rank> FailureDetector::Slow(engine::Time now) const {
  std::vector<engine::Rank> slow;
  for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
    const Watched& own = ranks_[rank];
    const bool is_awaited = std::any_of(ranks_.begin(), ranks_.end(), [&](const Watched& other) {
      return other.position.exchanging && other.position.IsAheadOf(own.position);
    });
    if (is_awaited && !own.position.exchanging && now - own.moved > silence_limit_) {
      slow.emplace_back(static_cast<std::int32_t>(rank));
    }
  }
  return slow;
}

std::string FailureDetector::StallReport(engine::Time now) const {
  std::string report;
  for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
    report += absl::StrFormat("%s%s: %s for %.1f s",
                              report.empty() ? "" : "; ",
                              names_[rank],
                              Describe(ranks_[rank].position),
                              Seconds(now - ranks_[rank].moved));
  }
  return report;
}

}  // namespace sparkspan::head::cluster
