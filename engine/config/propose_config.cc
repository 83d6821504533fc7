#include "engine/config/propose_config.h"

#include <strings.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <tuple>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/base/status.h"
#include "engine/config/parse_cluster_config.h"
#include "engine/config/propose_netplan.h"
#include "engine/config/write_cluster_config.h"

namespace sparkspan::engine::config {
namespace {

using fabric::Interface;
using fabric::InterfaceAddress;

constexpr std::uint16_t kControlPort = 7100;
constexpr std::uint16_t kDataPort = 7200;
constexpr std::int64_t kFabricMbps = 40'000;  // Faster than any management port.

// An interface of each node, all in one subnet.
struct Plane {
  fabric::Ipv4Address network;
  int prefix_length = 0;
  std::vector<const Interface*> interfaces;  // [nodes]
  std::vector<fabric::Ipv4Address> addresses;

  std::int64_t slowest_mbps() const {
    std::int64_t slowest = INT64_MAX;
    for (const Interface* interface : interfaces) {
      slowest = std::min(slowest, interface->speed_mbps.value_or(0));
    }
    return slowest;
  }
  bool has_virtual() const {
    return std::any_of(interfaces.begin(), interfaces.end(), [](const Interface* interface) {
      return interface->is_virtual();
    });
  }
  std::string network_text() const {
    return absl::StrFormat("%s/%d", ToString(network), prefix_length);
  }
};

std::vector<std::string> LinesOf(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(line);
  }
  return lines;
}

bool IsEligible(const Interface& interface, const InterfaceAddress& held) {
  return interface.is_up() && !interface.is_wireless && !held.address.IsLoopback() &&
         held.prefix_length > 0 && held.prefix_length < 32;
}

// The node's only interface in the network; empty when it has none or several.
std::optional<std::pair<const Interface*, fabric::Ipv4Address>> OnlyMember(
    const NodeDescription& node, fabric::Ipv4Address network, int prefix_length) {
  std::optional<std::pair<const Interface*, fabric::Ipv4Address>> member;
  for (const Interface& interface : node.interfaces) {
    for (const InterfaceAddress& held : interface.addresses) {
      if (IsEligible(interface, held) && held.prefix_length == prefix_length &&
          NetworkOf(held.address, prefix_length) == network) {
        if (member.has_value()) {
          return std::nullopt;
        }
        member = std::pair(&interface, held.address);
      }
    }
  }
  return member;
}

std::vector<Plane> CommonPlanes(const std::vector<NodeDescription>& nodes) {
  std::vector<Plane> planes;
  for (const Interface& interface : nodes[0].interfaces) {
    for (const InterfaceAddress& held : interface.addresses) {
      if (!IsEligible(interface, held)) {
        continue;
      }
      Plane plane{NetworkOf(held.address, held.prefix_length), held.prefix_length, {}, {}};
      for (const NodeDescription& node : nodes) {
        const auto member = OnlyMember(node, plane.network, plane.prefix_length);
        if (member.has_value()) {
          plane.interfaces.push_back(member->first);
          plane.addresses.push_back(member->second);
        }
      }
      if (plane.interfaces.size() == nodes.size()) {
        planes.push_back(std::move(plane));
      }
    }
  }
  return planes;
}

absl::Status NothingInCommon(const std::vector<NodeDescription>& nodes,
                             const std::vector<std::string>& faults) {
  std::string text;
  for (const std::string& fault : faults) {
    text += "; " + fault;
  }
  for (const NodeDescription& node : nodes) {
    text += absl::StrFormat("; %s has", node.name);
    for (const Interface& interface : node.interfaces) {
      text += " " + Describe(interface);
    }
  }
  return absl::NotFoundError(
      "no subnet has exactly one usable interface of every node: give the ends of each cable "
      "static "
      "addresses in a subnet of their own" +
      text);
}

// The fastest, physical before virtual, then by the network's number.
const Plane& BootstrapPlane(const std::vector<Plane>& planes) {
  return *std::min_element(planes.begin(), planes.end(), [](const Plane& a, const Plane& b) {
    return std::tuple(a.has_virtual(), -a.slowest_mbps(), a.network) <
           std::tuple(b.has_virtual(), -b.slowest_mbps(), b.network);
  });
}

// A management network where there is one, so that a pulled cable does not cut both planes.
const Plane& ControlPlane(const std::vector<Plane>& planes, const Plane& bootstrap) {
  for (const Plane& plane : planes) {
    if (plane.network != bootstrap.network && !plane.has_virtual() &&
        plane.slowest_mbps() < kFabricMbps) {
      return plane;
    }
  }
  return bootstrap;
}

// Why a link is not as described; empty when it is, or could not be probed.
std::string FindLinkFault(const Plane& plane,
                          const std::vector<NodeDescription>& nodes,
                          const ProposalOptions& options) {
  for (std::size_t i = 1; options.probe && i < nodes.size(); ++i) {
    const fabric::DeclaredPin own{plane.interfaces[0]->name, plane.addresses[0]};
    const absl::StatusOr<std::string> mac = options.probe(own, plane.addresses[i]);
    if (!mac.ok()) {
      return absl::StrFormat("%s: %s", plane.network_text(), std::string(mac.status().message()));
    }
    if (strcasecmp(mac->c_str(), plane.interfaces[i]->mac.c_str()) != 0) {
      return absl::StrFormat("%s: %s answers for %s on %s, which is not %s of %s",
                             plane.network_text(),
                             *mac,
                             ToString(plane.addresses[i]),
                             own.interface,
                             plane.interfaces[i]->name,
                             nodes[i].name);
    }
  }
  return "";
}

// Takes the planes out whose links are not as described, and returns why.
std::vector<std::string> LeaveOutFaults(const std::vector<NodeDescription>& nodes,
                                        const ProposalOptions& options,
                                        std::vector<Plane>* planes) {
  std::vector<std::string> faults;
  std::vector<Plane> kept;
  for (Plane& plane : *planes) {
    if (std::string fault = FindLinkFault(plane, nodes, options); fault.empty()) {
      kept.push_back(std::move(plane));
    } else {
      faults.push_back(std::move(fault));
    }
  }
  *planes = std::move(kept);
  return faults;
}

// Those that every node could use as a rail.
std::vector<const Plane*> RailPlanes(const std::vector<Plane>& planes) {
  std::vector<const Plane*> rails;
  for (const Plane& plane : planes) {
    if (std::all_of(plane.interfaces.begin(), plane.interfaces.end(), [](const Interface* one) {
          return IsFabric(*one) && !one->rdma_devices.empty();
        })) {
      rails.push_back(&plane);
    }
  }
  return rails;
}

std::string DataNote(const std::vector<const Plane*>& rails,
                     std::size_t node,
                     DataTransport transport) {
  std::string names;
  std::string devices;
  for (const Plane* plane : rails) {
    const Interface& rail = *plane->interfaces[node];
    names += (names.empty() ? "" : ", ") + rail.name;
    devices += (devices.empty() ? "" : ", ") + rail.rdma_devices[0];
  }
  if (transport == DataTransport::kRails) {
    return absl::StrFormat(
        "data: rails with the RDMA devices %s. This release cannot use them yet, and refuses the "
        "file: tcp serves.",
        devices);
  }
  return rails.empty() ? "data: tcp over the bootstrap interface; the nodes share no ports with "
                         "RDMA devices."
                       : absl::StrFormat(
                             "data: tcp over the bootstrap interface. Rails for RDMA, "
                             "which this release cannot use, are [%s] (%s).",
                             names,
                             devices);
}

NodeConfig OneNode(const NodeDescription& description, std::size_t place) {
  NodeConfig node;
  node.name = description.name;
  node.data = DataTransport::kTcp;
  RankConfig& rank = node.ranks.emplace_back();
  rank.rank = Rank(static_cast<std::int32_t>(place));
  rank.device.cpu_threads = std::clamp(description.cpus, 1, kCpuThreadsMax);
  rank.control_port = kControlPort;
  rank.data_port = kDataPort;
  return node;
}

// No limit asks for more than the checkpoint was made for, which the daemons would refuse.
void CutContexts(std::int64_t context_max, ClusterConfig* config) {
  config->limits.context_length = std::min(config->limits.context_length, context_max);
  for (auto& [name, limits] : config->profiles) {
    limits.context_length = std::min(limits.context_length, context_max);
  }
}

std::string ContextNote(const ProposalOptions& options) {
  if (options.context_max.has_value()) {
    return absl::StrFormat("context_length: the checkpoint was made for at most %d tokens.",
                           *options.context_max);
  }
  return "context_length: no checkpoint was found in model.path on this machine, which may be made "
         "for less.";
}

ClusterConfig Defaults(const std::string& head, const std::string& model_path) {
  ClusterConfig config;
  config.cluster = "sparkspan";
  config.head = head;
  config.model.path = model_path;
  const std::string folder = model_path.substr(model_path.find_last_of('/') + 1);
  config.model.served_names = {folder.empty() ? "model" : folder};
  config.profiles["long"] = config.limits;
  config.profiles["long"].context_length = 1'048'576;
  config.profiles["long"].sequences = 6;
  config.profiles["wide"] = config.limits;
  config.profiles["wide"].context_length = 204'800;
  config.profiles["wide"].sequences = 16;
  config.api.address = "127.0.0.1";
  config.api.tls.plaintext = true;
  config.control_tls.plaintext = true;
  return config;
}

// That the file can say it: names and the model's path come from outside.
absl::Status CheckReadBack(const ClusterConfig& config) {
  ASSIGN_OR_RETURN(const ClusterConfig read, ParseClusterConfig(ToYaml(config), "the proposal"));
  if (!(read == config)) {
    return absl::InvalidArgumentError(
        "the proposal: a text in it has line breaks; expected names and a path of one line");
  }
  return absl::OkStatus();
}

void AddOnlyNode(const NodeDescription& description, Proposal* proposal) {
  NodeConfig node = OneNode(description, 0);
  node.control = {"lo", {0x7F000001}};
  node.bootstrap = node.control;
  proposal->config.nodes = {std::move(node)};
  proposal->nodes = {{"control and bootstrap: loopback, since there is one node.",
                      absl::StrFormat("cpu_threads: all %d CPUs.", description.cpus)}};
}

absl::Status AddNodes(const std::vector<NodeDescription>& nodes,
                      const ProposalOptions& options,
                      Proposal* proposal) {
  std::vector<Plane> planes = CommonPlanes(nodes);
  const std::vector<std::string> faults = LeaveOutFaults(nodes, options, &planes);
  if (planes.empty()) {
    return NothingInCommon(nodes, faults);
  }
  for (const std::string& fault : faults) {
    proposal->notes.push_back("left out: " + fault);
  }
  if (const std::string netplan = MissingNetplan(nodes); !netplan.empty()) {
    proposal->notes.push_back("Ports of the fabric have a link but no static address. First:");
    for (const std::string& line : LinesOf(netplan)) {
      proposal->notes.push_back(line);
    }
  }
  const std::vector<const Plane*> rails = RailPlanes(planes);
  if (options.data == DataTransport::kRails && rails.empty()) {
    return absl::FailedPreconditionError(
        "--rails: the nodes share no subnet of ports with RDMA devices");
  }
  const Plane& bootstrap = BootstrapPlane(planes);
  const Plane& control = ControlPlane(planes, bootstrap);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    NodeConfig node = OneNode(nodes[i], i);
    node.control = {control.interfaces[i]->name, control.addresses[i]};
    node.bootstrap = {bootstrap.interfaces[i]->name, bootstrap.addresses[i]};
    node.data = options.data;
    for (std::size_t j = 0; node.data == DataTransport::kRails && j < rails.size(); ++j) {
      node.rails.push_back(rails[j]->interfaces[i]->name);
    }
    proposal->config.nodes.push_back(std::move(node));
    proposal->nodes.push_back(
        {absl::StrFormat("control: %s, in %s as the others', %s.",
                         Describe(*control.interfaces[i]),
                         control.network_text(),
                         &control == &bootstrap ? "since no management network joins the nodes"
                                                : "a network apart from the one of collectives"),
         absl::StrFormat("bootstrap: %s, in %s as the others', the fastest network that joins the "
                         "nodes.",
                         Describe(*bootstrap.interfaces[i]),
                         bootstrap.network_text()),
         DataNote(rails, i, options.data),
         options.probe ? "links: probed, and answered by the interfaces above."
                       : "links: not probed.",
         absl::StrFormat("cpu_threads: all %d CPUs.", nodes[i].cpus)});
  }
  return absl::OkStatus();
}

}  // namespace

bool IsFabric(const Interface& interface) {
  return !interface.is_wireless && interface.speed_mbps.value_or(0) >= kFabricMbps;
}

absl::StatusOr<Proposal> ProposeConfig(const std::vector<NodeDescription>& nodes,
                                       const ProposalOptions& options) {
  if (nodes.empty()) {
    return absl::InvalidArgumentError("no node is described");
  }
  Proposal proposal;
  proposal.config = Defaults(nodes[0].name, options.model_path);
  if (options.context_max.has_value()) {
    CutContexts(*options.context_max, &proposal.config);
  }
  proposal.notes = {
      "Proposed by `sparkspan init`. Read it, change it, and give the same file to every node: "
      "nothing in it is chosen anew when the daemons start.",
      "head: the first node described.",
      "limits: defaults. profiles: long is 1M tokens x 6 sequences, wide 200K x 16; name one in "
      "`profile` to use it.",
      ContextNote(options),
      "api: only this node's programs reach 127.0.0.1; give the management address to serve "
      "others, "
      "and a keys_file.",
      "control_tls: plaintext, which is for links that nobody else is on. With certificates: "
      "{authority: /etc/sparkspan/tls/authority.pem, certificate: /etc/sparkspan/tls/node.pem, "
      "key: /etc/sparkspan/tls/node.key}, made by `sparkspan certs`."};
  if (nodes.size() == 1) {
    AddOnlyNode(nodes[0], &proposal);
  } else {
    RETURN_IF_ERROR(AddNodes(nodes, options, &proposal));
  }
  RETURN_IF_ERROR(CheckReadBack(proposal.config));
  return proposal;
}

std::string ToYaml(const Proposal& proposal) {
  std::string text;
  for (const std::string& note : proposal.notes) {
    text += "# " + note + "\n";
  }
  text += ToYaml(proposal.config);
  for (std::size_t i = 0; i < proposal.config.nodes.size(); ++i) {
    const std::string entry = "  - name: \"" + proposal.config.nodes[i].name + "\"\n";
    std::string comments;
    for (const std::string& note : proposal.nodes[i]) {
      comments += "  # " + note + "\n";
    }
    text.insert(text.find(entry), comments);
  }
  return text;
}

}  // namespace sparkspan::engine::config
