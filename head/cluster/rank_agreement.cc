#include "head/cluster/rank_agreement.h"

#include "absl/strings/str_format.h"
#include "engine/base/status.h"

namespace sparkspan::head::cluster {
namespace {

constexpr const char* kSameRelease = "install the same release on every node";
constexpr const char* kSameFile = "give all nodes the same cluster.yaml and start them again";
constexpr const char* kSameCheckpoint =
    "compare config.json, the index and the sizes of the shards; copy the checkpoint again";
constexpr const char* kSameMachines =
    "use machines of one kind: their sums differ in the last bits";

struct Side {
  const std::string& name;
  std::string value;
};

absl::Status Compare(const char* what, const Side& a, const Side& b, const char* remedy) {
  if (a.value == b.value) {
    return absl::OkStatus();
  }
  const auto shown = [](const std::string& value) { return value.empty() ? "none" : value; };
  return absl::FailedPreconditionError(absl::StrFormat("%s: %s has %s, %s has %s; %s",
                                                       what,
                                                       a.name,
                                                       shown(a.value),
                                                       b.name,
                                                       shown(b.value),
                                                       remedy));
}

std::string Hex(std::uint64_t hash) {
  return absl::StrFormat("%016x", hash);
}

}  // namespace

absl::Status CheckFits(const WorkerIdentity& worker,
                       const std::string& name,
                       const RemoteClusterOptions& head) {
  const std::string own = "the head";
  RETURN_IF_ERROR(Compare("program version",
                          {own, head.program_version},
                          {name, worker.program_version},
                          kSameRelease));
  RETURN_IF_ERROR(Compare("configuration hash",
                          {own, Hex(head.config_hash)},
                          {name, Hex(worker.config_hash)},
                          kSameFile));
  if (head.checkpoint_hash != 0) {
    return Compare("checkpoint hash",
                   {own, Hex(head.checkpoint_hash)},
                   {name, Hex(worker.checkpoint_hash)},
                   kSameCheckpoint);
  }
  return absl::OkStatus();
}

absl::Status CheckAlike(const WorkerIdentity& a,
                        const std::string& a_name,
                        const WorkerIdentity& b,
                        const std::string& b_name) {
  RETURN_IF_ERROR(Compare("checkpoint hash",
                          {a_name, Hex(a.checkpoint_hash)},
                          {b_name, Hex(b.checkpoint_hash)},
                          kSameCheckpoint));
  RETURN_IF_ERROR(Compare("numerics hash",
                          {a_name, Hex(a.numerics_hash)},
                          {b_name, Hex(b.numerics_hash)},
                          kSameRelease));
  RETURN_IF_ERROR(
      Compare("architecture", {a_name, a.architecture}, {b_name, b.architecture}, kSameMachines));
  RETURN_IF_ERROR(Compare(
      "vector instructions", {a_name, a.simd_target}, {b_name, b.simd_target}, kSameMachines));
  return Compare("NCCL version", {a_name, a.nccl_version}, {b_name, b.nccl_version}, kSameRelease);
}

}  // namespace sparkspan::head::cluster
