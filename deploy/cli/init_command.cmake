sparkspan_library(
  deploy_cli_init
  SRCS init_command.cc node_description.cc
  DEPS sparkspan::engine_config absl::status absl::statusor
  PRIVATE_DEPS sparkspan::deploy_cli_flags sparkspan::engine_doctor sparkspan::engine_fabric
               sparkspan::engine_weights absl::str_format nlohmann_json::nlohmann_json)
