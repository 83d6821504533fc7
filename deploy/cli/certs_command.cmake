sparkspan_library(
  deploy_cli_certs
  SRCS certs_command.cc
  DEPS sparkspan::engine_base absl::status absl::statusor
  PRIVATE_DEPS sparkspan::deploy_cli_flags sparkspan::engine_config sparkspan::engine_identity
               absl::str_format)
