#include <algorithm>
#include <array>
#include <iostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "deploy/cli/bench_command.h"
#include "deploy/cli/certs_command.h"
#include "deploy/cli/doctor_command.h"
#include "deploy/cli/draft_command.h"
#include "deploy/cli/init_command.h"
#include "deploy/cli/node_command.h"
#include "deploy/cli/score_command.h"
#include "deploy/cli/serve_command.h"
#include "deploy/cli/text_command.h"

// The program `sparkspan`. A command is one line of kCommands; it parses its own arguments and
// answers --help.
namespace sparkspan::deploy::cli {
namespace {

struct Command {
  std::string_view name;
  std::string_view summary;
  int (*run)(std::span<const std::string_view> args);
};

constexpr std::array kCommands = {
    Command{"bench", "time steps of a random checkpoint on this machine", RunBenchCommand},
    Command{"certs", "make a cluster's authority and its nodes' certificates", RunCertsCommand},
    Command{"doctor", "compare this machine with what cluster.yaml says of it", RunDoctorCommand},
    Command{"draft", "draft along given sequences and write what was drafted", RunDraftCommand},
    Command{"init", "propose a cluster.yaml for this machine and others", RunInitCommand},
    Command{"node", "start what cluster.yaml gives this machine", RunNodeCommand},
    Command{"score", "run prompts through a checkpoint and write the logits", RunScoreCommand},
    Command{"serve", "serve a checkpoint on this machine: head and workers", RunServeCommand},
    Command{"text", "tokenise, render chats and read answers of case files", RunTextCommand},
};

void PrintCommands(std::ostream& out) {
  out << "usage: sparkspan COMMAND ...\n\ncommands (each with --help):\n";
  for (const Command& command : kCommands) {
    out << "  " << command.name
        << std::string(10 - std::min<std::size_t>(command.name.size(), 9), ' ') << command.summary
        << "\n";
  }
}

int Run(std::span<const std::string_view> args) {
  const std::string_view name = args.empty() ? "" : args[0];
  if (name == "--help" || name == "help") {
    PrintCommands(std::cout);
    return 0;
  }
  if (name == "--version") {
    std::cout << "sparkspan " << SPARKSPAN_VERSION << "\n";
    return 0;
  }
  for (const Command& command : kCommands) {
    if (command.name == name) {
      return command.run(args.subspan(1));
    }
  }
  std::cerr << (name.empty() ? "sparkspan: a command is missing" : "sparkspan: no such command: ")
            << name << "\n\n";
  PrintCommands(std::cerr);
  return 2;
}

}  // namespace
}  // namespace sparkspan::deploy::cli

int main(int argc, char** argv) {
  const std::vector<std::string_view> args(argv + std::min(argc, 1), argv + argc);
  return sparkspan::deploy::cli::Run(args);
}
