sparkspan_library(
  deploy_cli_doctor
  SRCS doctor_command.cc doctor_peers.cc
  DEPS sparkspan::engine_base
  PRIVATE_DEPS sparkspan::deploy_cli_flags sparkspan::deploy_cli_node sparkspan::engine_config
               sparkspan::engine_doctor sparkspan::engine_identity sparkspan::head_cluster
               sparkspan::head_worker_examiner absl::str_format absl::status absl::statusor)
target_compile_definitions(deploy_cli_doctor PRIVATE SPARKSPAN_VERSION="${PROJECT_VERSION}")
