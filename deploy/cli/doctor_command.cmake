sparkspan_library(
  deploy_cli_doctor
  SRCS doctor_command.cc
  DEPS sparkspan::engine_base
  PRIVATE_DEPS sparkspan::deploy_cli_flags sparkspan::deploy_cli_node sparkspan::engine_config
               sparkspan::engine_doctor absl::status absl::statusor)
target_compile_definitions(deploy_cli_doctor PRIVATE SPARKSPAN_VERSION="${PROJECT_VERSION}")
