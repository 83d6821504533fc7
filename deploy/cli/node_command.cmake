sparkspan_library(
  deploy_cli_node
  SRCS node_choice.cc node_command.cc
  DEPS sparkspan::engine_config sparkspan::engine_base absl::status absl::statusor
  PRIVATE_DEPS sparkspan::deploy_cli_flags sparkspan::deploy_cli_serve absl::str_format)
