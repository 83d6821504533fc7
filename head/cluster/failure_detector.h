#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/base/silence_detector.h"
#include "engine/runtime/rank_position.h"
#include "head/cluster/link_events.h"

namespace sparkspan::head::cluster {

// What became of a rank when its epoch ended.
enum class RankFate : std::uint8_t {
  kAlive,  // answers the head; its weights stay
  kLost,   // its stream broke, or it fell silent
  kFailed  // it said itself that it could not go on, and blamed nobody
};

struct EpochLoss {
  std::string summary;               // in one sentence, with the ranks' names
  std::vector<RankFate> fates;       // [ranks]
  std::vector<std::string> details;  // [ranks]: why; empty for a rank without part in it
};

// Tells from what the head hears of its ranks whether the epoch is over, and by whom. One death has
// many witnesses: the other ranks' exchanges break, and what they report may arrive before the
// victim's own end does. So a report that blames a peer ends the epoch but names nobody: the
// verdict waits until a stream has broken or a rank has been silent for the limit, and if neither
// happens, it is the connection between the two that is gone (docs/decisions/0018).
//
// Pure: time is an argument. One thread at a time. To be asked often: every tenth of the limit.
class FailureDetector {
 public:
  // `names` [ranks] go into messages. A rank that is silent for more than `silence_limit` is lost.
  FailureDetector(std::vector<std::string> names, engine::Duration silence_limit);

  // A new epoch, in which every rank was heard just now.
  void Begin(engine::Time now);

  // Any message of a rank is a sign of life; a pulse also says how far it has come.
  void Hear(engine::Rank rank, engine::Time at);
  void Hear(engine::Rank rank, const engine::runtime::RankPosition& position, engine::Time at);
  // A result is one too, and says that its step is finished.
  void HearResult(engine::Rank rank, engine::Step step, engine::Time at);
  // A rank's stream has ended.
  void End(engine::Rank rank, const LinkEnd& end, engine::Time at);

  // Why the epoch is over; empty while it is not, or while it is not known by whom.
  std::optional<EpochLoss> Judge(engine::Time now);

  // The ranks that others wait for in an exchange, and that have not moved for longer than the
  // limit: slow, as they show signs of life.
  std::vector<engine::Rank> Slow(engine::Time now) const;

  // "rank 0 (...): in step 17, inside all-reduce 13 for 2.0 s; rank 1 (...): ...".
  std::string StallReport(engine::Time now) const;
  const engine::runtime::RankPosition& position(engine::Rank rank) const {
    return ranks_[Index(rank)].position;
  }
  // Since the rank gave a sign of life.
  std::optional<engine::Duration> SilentFor(engine::Rank rank, engine::Time now) const {
    return silence_.SilentFor(Index(rank), now);
  }

 private:
  struct Watched {
    engine::runtime::RankPosition position;
    engine::Time moved;  // when the position last changed
    std::optional<LinkEnd> end;
    engine::Time ended;
  };

  static std::size_t Index(engine::Rank rank) { return static_cast<std::size_t>(rank.value()); }
  RankFate FateOf(const Watched& rank) const;
  EpochLoss Condemn() const;
  // For reports that blame peers which go on living.
  EpochLoss BlameConnection() const;

  const std::vector<std::string> names_;
  const engine::Duration silence_limit_;
  engine::SilenceDetector silence_;
  std::vector<Watched> ranks_;
};

}  // namespace sparkspan::head::cluster
