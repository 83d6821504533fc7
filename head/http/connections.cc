#include "head/http/connections.h"

#include <sys/eventfd.h>

#include <utility>

#include "engine/base/status.h"
#include "head/http/listener.h"

namespace sparkspan::head::http {

absl::StatusOr<std::unique_ptr<Connections>> Connections::Start(engine::UniqueFd listener,
                                                                const ConnectionLimits& limits,
                                                                Answer answer,
                                                                Refuse refuse) {
  engine::UniqueFd stop(eventfd(0, EFD_CLOEXEC));
  if (!stop.valid()) {
    return absl::UnavailableError("cannot make an event descriptor");
  }
  std::unique_ptr<Connections> made(new Connections(
      std::move(listener), std::move(stop), limits, std::move(answer), std::move(refuse)));
  Connections* const self = made.get();
  self->pool_ = std::make_unique<ConnectionPool>(
      limits.threads,
      limits.overload_threads,
      [self](std::unique_ptr<SocketStream> stream, bool overloaded) {
        self->Serve(std::move(stream), overloaded);
      });
  ASSIGN_OR_RETURN(self->idle_,
                   IdleConnections::Start(limits.idle_connections_max,
                                          limits.keep_alive_timeout,
                                          [self](std::unique_ptr<SocketStream> stream) {
                                            self->Dispatch(std::move(stream));
                                          }));
  self->acceptor_ = engine::Thread("http-accept", [self] {
    AcceptLoop(self->listener_.get(), self->stop_.get(), [self](engine::UniqueFd socket) {
      self->idle_->Park(std::make_unique<SocketStream>(std::move(socket)));
    });
  });
  return made;
}

void Connections::Dispatch(std::unique_ptr<SocketStream> stream) {
  if (!pool_->Submit(std::move(stream))) {
    // This thread waits for nobody: what the client does not take at once it does not get.
    stream->LimitWrites(Patience());
    if (stream->Write(refuse_(*stream))) {
      constexpr std::size_t kDiscarded = 64 << 10;
      stream->EndWrites(kDiscarded, Patience());
    }
  }
}

void Connections::Serve(std::unique_ptr<SocketStream> stream, bool overloaded) {
  using Arrival = SocketStream::Arrival;
  if (!Enter(stream.get())) {
    return;
  }
  Arrival arrival = stream->TakeArrived();
  while (arrival == Arrival::kRequest) {
    arrival = answer_(*stream, overloaded) ? stream->TakeArrived() : Arrival::kEnd;
  }
  Leave(stream.get());
  if (arrival == Arrival::kNothing) {
    idle_->Park(std::move(stream));
  }
}

bool Connections::Enter(SocketStream* stream) {
  const std::lock_guard lock(mutex_);
  if (!stopping_) {
    served_.insert(stream);
  }
  return !stopping_;
}

void Connections::Leave(SocketStream* stream) {
  const std::lock_guard lock(mutex_);
  served_.erase(stream);
  if (served_.empty()) {
    none_served_.notify_all();
  }
}

void Connections::EndServed() {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  for (SocketStream* stream : served_) {
    stream->EndReads();
  }
  none_served_.wait_for(lock, limits_.stop_timeout, [this] { return served_.empty(); });
  for (SocketStream* stream : served_) {
    stream->Abort();
  }
}

void Connections::Stop() {
  if (pool_ == nullptr) {
    return;
  }
  eventfd_write(stop_.get(), 1);
  acceptor_.Join();
  listener_.Reset();
  if (idle_ != nullptr) {  // Null when Start() failed.
    idle_->Stop();
  }
  EndServed();
  pool_.reset();
}

}  // namespace sparkspan::head::http
