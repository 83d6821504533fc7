sparkspan_library(
  head_program
  SRCS failure_examiner.cc served_model.cc
  DEPS sparkspan::head_api sparkspan::engine_config sparkspan::engine_doctor
       sparkspan::engine_weights absl::statusor
  PRIVATE_DEPS absl::str_format)

sparkspan_executable(
  sparkspan-head
  SRCS main.cc
  DEPS sparkspan::head_program sparkspan::head_cluster sparkspan::head_worker_examiner sparkspan::head_http
       sparkspan::head_status sparkspan::engine_config sparkspan::engine_draft_choice
       absl::str_format)
