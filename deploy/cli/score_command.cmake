sparkspan_library(
  deploy_cli_score
  SRCS score_command.cc score_options.cc
  DEPS sparkspan::deploy_cli_case_run sparkspan::deploy_cli_tensor_file sparkspan::engine_model
       sparkspan::engine_collective
  PRIVATE_DEPS sparkspan::deploy_cli_flags absl::str_format)
