sparkspan_library(
  deploy_cli_serve
  SRCS program_signs.cc serve_command.cc serve_options.cc supervisor.cc
  DEPS sparkspan::engine_config sparkspan::engine_base absl::status absl::statusor
  PRIVATE_DEPS sparkspan::deploy_cli_flags sparkspan::engine_fabric sparkspan::engine_weights
               absl::str_format)
