#include "head/cluster/grpc_links.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/status.h"

namespace sparkspan::head::cluster {
namespace {

constexpr std::size_t kEventsPerWorker = 64;

absl::Status NotOpen(engine::Rank rank) {
  return absl::UnavailableError(absl::StrFormat("rank %d: no stream is open", rank.value()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcLinks>> GrpcLinks::Create(GrpcLinksOptions options) {
  std::unique_ptr<GrpcLinks> links(new GrpcLinks(std::move(options)));
  for (std::size_t rank = 0; rank < links->workers_.size(); ++rank) {
    ASSIGN_OR_RETURN(links->workers_[rank].relay,
                     PinnedRelay::Start(links->options_.control, links->options_.workers[rank]));
  }
  return links;
}

GrpcLinks::GrpcLinks(GrpcLinksOptions options)
    : options_(std::move(options)),
      workers_(options_.workers.size()),
      events_(std::make_shared<LinkEvents>(kEventsPerWorker * workers_.size())) {}

void GrpcLinks::Open(engine::Rank rank, engine::Epoch epoch) {
  Worker& worker = At(rank);
  CHECK(worker.link == nullptr) << "rank " << rank << " has a stream already";
  worker.opening = ++openings_;
  LinkOptions link;
  link.rank = rank;
  link.epoch = epoch;
  link.opening = worker.opening;
  link.target = worker.relay->target();
  link.tls = options_.tls;
  if (link.tls.has_value()) {
    link.worker_name = options_.worker_names[static_cast<std::size_t>(rank.value())];
  }
  link.program_version = options_.program_version;
  link.config_hash = options_.config_hash;
  link.connect_timeout = options_.connect_timeout;
  link.silence_limit = options_.silence_limit;
  link.events = events_;
  worker.link = std::make_unique<WorkerLink>(std::move(link));
}

std::optional<LinkEvent> GrpcLinks::Next(engine::Time deadline) {
  while (std::optional<LinkEvent> event = events_->Pop(deadline)) {
    const Worker& worker = At(event->rank);
    if (worker.link != nullptr && event->opening == worker.opening) {
      return event;
    }
  }
  return std::nullopt;
}

absl::Status GrpcLinks::SendFormGroup(engine::Rank rank, const std::string& session_key) {
  return IsOpen(rank) ? At(rank).link->SendFormGroup(session_key) : NotOpen(rank);
}

absl::Status GrpcLinks::SendPlan(engine::Rank rank, const engine::runtime::StepPlan& plan) {
  return IsOpen(rank) ? At(rank).link->SendPlan(plan) : NotOpen(rank);
}

absl::Status GrpcLinks::SendHeartbeat(engine::Rank rank) {
  return IsOpen(rank) ? At(rank).link->SendHeartbeat() : NotOpen(rank);
}

void GrpcLinks::SendGoodbye(engine::Rank rank) {
  if (IsOpen(rank)) {
    At(rank).link->SendGoodbye();
  }
}

}  // namespace sparkspan::head::cluster
