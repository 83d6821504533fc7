#include "engine/fabric/path_watch.h"

#include <linux/rtnetlink.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/status.h"
#include "engine/fabric/deadline_call.h"

namespace sparkspan::engine::fabric {
namespace {

// Only so that lost news cost no more than this.
constexpr int kPollTimeoutMs = 10'000;
// A machine whose routes change all the time is not looked at all the time.
constexpr int kPauseMs = 200;
constexpr const char* kLoopback = "lo";

absl::StatusOr<LinkFacts> LookAtLink(const std::filesystem::path& sysfs, const DeclaredPin& pin) {
  return CallWithDeadline<LinkFacts>("looking at interface " + pin.interface,
                                     kNetlinkTimeout,
                                     [sysfs, pin] { return ReadLinkFacts(sysfs, pin); });
}

}  // namespace

absl::StatusOr<std::unique_ptr<PathWatch>> PathWatch::Start(
    std::filesystem::path sysfs,
    std::shared_ptr<const RouteSource> routes,
    std::vector<DeclaredPath> paths) {
  ASSIGN_OR_RETURN(NetlinkSocket news,
                   NetlinkSocket::Open(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE));
  ASSIGN_OR_RETURN(StopEvent stop, StopEvent::Create());
  std::unique_ptr<PathWatch> watch(new PathWatch(
      std::move(sysfs), std::move(routes), std::move(paths), std::move(news), std::move(stop)));
  watch->Look();
  watch->thread_ = Thread("path watch", [own = watch.get()] { own->Run(); });
  return watch;
}

PathWatch::PathWatch(std::filesystem::path sysfs,
                     std::shared_ptr<const RouteSource> routes,
                     std::vector<DeclaredPath> paths,
                     NetlinkSocket news,
                     StopEvent stop)
    : sysfs_(std::move(sysfs)),
      routes_(std::move(routes)),
      paths_(std::move(paths)),
      news_(std::move(news)),
      stop_(std::move(stop)),
      mtus_(paths_.size()),
      states_(paths_.size()) {}

PathWatch::~PathWatch() {
  stop_.Set();
  thread_.Join();
}

std::vector<PathState> PathWatch::states() const {
  const std::lock_guard lock(mutex_);
  return states_;
}

void PathWatch::Run() {
  while (true) {
    pollfd polled[] = {{stop_.fd(), POLLIN, 0}, {news_.fd(), POLLIN, 0}};
    poll(polled, 2, kPollTimeoutMs);
    // With the pause, the stop event alone wakes: more news come together.
    if (polled[0].revents != 0 || poll(polled, 1, polled[1].revents == 0 ? 0 : kPauseMs) > 0) {
      return;
    }
    Drain();
    Look();
  }
}

void PathWatch::Drain() const {
  absl::Status status;
  while (status.ok() || absl::IsDataLoss(status)) {
    status = news_.Receive(Time()).status();
  }
}

void PathWatch::Look() {
  for (std::size_t i = 0; i < paths_.size(); ++i) {
    const absl::StatusOr<LinkFacts> link = LookAtLink(sysfs_, paths_[i].pin);
    if (!link.ok()) {
      LOG(WARNING) << link.status().message();
      continue;  // The kernel does not answer: nothing is known anew.
    }
    PathState state{*link, FindFault(i, *link)};
    const std::lock_guard lock(mutex_);
    if (state.fault != states_[i].fault) {
      if (state.fault.empty()) {
        LOG(INFO) << "interface " << paths_[i].pin.interface << ": routes and MTU are right again";
      } else {
        LOG(ERROR) << state.fault;
      }
    }
    states_[i] = std::move(state);
  }
}

std::string PathWatch::FindFault(std::size_t path, const LinkFacts& link) {
  const DeclaredPin& pin = paths_[path].pin;
  for (const Ipv4Address peer : paths_[path].peers) {
    const absl::StatusOr<Route> route = routes_->RouteTo(peer);
    if (absl::IsNotFound(route.status())) {
      return absl::StrFormat("interface %s: %s; give both ends of the link addresses in one subnet",
                             pin.interface,
                             route.status().message());
    }
    // An address of this machine is reached inside it.
    if (route.ok() && route->interface != pin.interface && route->interface != kLoopback) {
      return absl::StrFormat(
          "interface %s: the route to %s leaves by %s; find what has changed the routes, and put "
          "both ends of the link into a subnet that no other interface has",
          pin.interface,
          ToString(peer),
          route->interface);
    }
  }
  mtus_[path] = std::max(mtus_[path], link.mtu);
  if (link.mtu != 0 && link.mtu < mtus_[path]) {
    return absl::StrFormat("interface %s has MTU %d, it had %d; set it again, as at the other end",
                           pin.interface,
                           link.mtu,
                           mtus_[path]);
  }
  return "";
}

}  // namespace sparkspan::engine::fabric
