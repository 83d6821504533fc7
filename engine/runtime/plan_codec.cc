#include "engine/runtime/plan_codec.h"

#include <google/protobuf/arena.h>

#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/status.h"
#include "proto/sparkspan/v1/plan.pb.h"

namespace sparkspan::engine::runtime {
namespace {

absl::Status CheckVersion(std::uint32_t version) {
  if (version != kWireVersion) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "version is %d: this program speaks version %d, use one release on all nodes",
        version,
        kWireVersion));
  }
  return absl::OkStatus();
}

// Serialises or parses a whole message on an arena, which is released at once.
template <typename Message>
absl::StatusOr<const Message*> Parse(std::string_view bytes, google::protobuf::Arena* arena) {
  if (bytes.size() > PlanLimits::kMessageBytesMax) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "a message of %d bytes: at most %d are read", bytes.size(), PlanLimits::kMessageBytesMax));
  }
  auto* message = google::protobuf::Arena::CreateMessage<Message>(arena);
  if (!message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%d bytes that are not a %s", bytes.size(), message->GetTypeName()));
  }
  return message;
}

template <typename Message>
std::string Serialise(const Message& message) {
  std::string bytes;
  CHECK(message.SerializeToString(&bytes)) << "a message beyond protobuf's 2 GiB";
  return bytes;
}

void SamplingToProto(const SamplingParams& sampling, v1::SamplingParams* message) {
  message->set_temperature(sampling.temperature);
  message->set_top_p(sampling.top_p);
  message->set_top_k(sampling.top_k);
  message->set_min_p(sampling.min_p);
  message->set_seed(sampling.seed);
  if (sampling.top_logprobs >= 0) {
    message->set_top_logprobs(sampling.top_logprobs);
  }
  message->set_min_tokens(sampling.min_tokens);
  message->mutable_suppressed_until_min_tokens()->Add(sampling.suppressed_until_min_tokens.begin(),
                                                      sampling.suppressed_until_min_tokens.end());
  message->set_repetition_penalty(sampling.repetition_penalty);
  message->set_frequency_penalty(sampling.frequency_penalty);
  message->set_presence_penalty(sampling.presence_penalty);
  for (const LogitBias& bias : sampling.logit_bias) {
    v1::LogitBias* entry = message->add_logit_bias();
    entry->set_token(bias.token);
    entry->set_bias(bias.bias);
  }
  message->set_acceptance(sampling.acceptance == AcceptanceRule::kSharedNoise
                              ? v1::ACCEPTANCE_RULE_SHARED_NOISE
                              : v1::ACCEPTANCE_RULE_REJECTION);
  message->mutable_allowed_tokens()->Add(sampling.allowed_tokens.begin(),
                                         sampling.allowed_tokens.end());
  if (sampling.forced != ForcedTokens{}) {
    v1::ForcedTokens* forced = message->mutable_forced();
    if (sampling.forced.after.has_value()) {
      forced->set_after(*sampling.forced.after);
    }
    forced->mutable_tokens()->Add(sampling.forced.tokens.begin(), sampling.forced.tokens.end());
  }
}

absl::StatusOr<AcceptanceRule> AcceptanceFromProto(v1::AcceptanceRule rule) {
  switch (rule) {
    case v1::ACCEPTANCE_RULE_REJECTION:
      return AcceptanceRule::kRejection;
    case v1::ACCEPTANCE_RULE_SHARED_NOISE:
      return AcceptanceRule::kSharedNoise;
    default:
      return absl::InvalidArgumentError(absl::StrFormat(
          "sampling.acceptance is %d: 0 is rejection, 1 shared noise", static_cast<int>(rule)));
  }
}

absl::StatusOr<SamplingParams> SamplingFromProto(const v1::SamplingParams& message) {
  if (message.has_top_logprobs() && message.top_logprobs() < 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "sampling.top_logprobs is %d: leave it out instead", message.top_logprobs()));
  }
  SamplingParams sampling;
  sampling.temperature = message.temperature();
  sampling.top_p = message.top_p();
  sampling.top_k = message.top_k();
  sampling.min_p = message.min_p();
  sampling.seed = message.seed();
  sampling.top_logprobs = message.has_top_logprobs() ? message.top_logprobs() : -1;
  sampling.min_tokens = message.min_tokens();
  sampling.suppressed_until_min_tokens.assign(message.suppressed_until_min_tokens().begin(),
                                              message.suppressed_until_min_tokens().end());
  sampling.repetition_penalty = message.repetition_penalty();
  sampling.frequency_penalty = message.frequency_penalty();
  sampling.presence_penalty = message.presence_penalty();
  for (const v1::LogitBias& bias : message.logit_bias()) {
    sampling.logit_bias.push_back({bias.token(), bias.bias()});
  }
  ASSIGN_OR_RETURN(sampling.acceptance, AcceptanceFromProto(message.acceptance()));
  sampling.allowed_tokens.assign(message.allowed_tokens().begin(), message.allowed_tokens().end());
  if (message.forced().has_after()) {
    sampling.forced.after = message.forced().after();
  }
  sampling.forced.tokens.assign(message.forced().tokens().begin(), message.forced().tokens().end());
  return sampling;
}

void SpanToProto(const RowSpan& span, v1::RowSpan* message) {
  message->set_sequence(span.sequence.value());
  if (span.first_position != kSequenceEnd) {
    message->set_first_position(span.first_position);
  }
  if (const auto* tokens = std::get_if<std::vector<Token>>(&span.tokens)) {
    message->mutable_tokens()->mutable_ids()->Add(tokens->begin(), tokens->end());
  } else {
    message->mutable_last_committed();
  }
  message->set_sample(span.sample);
  message->set_draft_tokens_max(span.draft_tokens_max);
  message->set_propose(span.propose);
}

absl::StatusOr<RowSpan> SpanFromProto(const v1::RowSpan& message, int index) {
  if (message.has_first_position() && message.first_position() < 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "spans[%d].first_position is %d: must not be negative", index, message.first_position()));
  }
  RowSpan span;
  span.sequence = SequenceId(message.sequence());
  span.first_position = message.has_first_position() ? message.first_position() : kSequenceEnd;
  switch (message.rows_case()) {
    case v1::RowSpan::kTokens:
      span.tokens =
          std::vector<Token>(message.tokens().ids().begin(), message.tokens().ids().end());
      break;
    case v1::RowSpan::kLastCommitted:
      span.tokens = LastCommitted{};
      break;
    case v1::RowSpan::ROWS_NOT_SET:
      return absl::InvalidArgumentError(absl::StrFormat(
          "spans[%d].rows is missing: a span has tokens or the last committed one", index));
  }
  span.sample = message.sample();
  span.draft_tokens_max = message.draft_tokens_max();
  span.propose = message.propose();
  return span;
}

void TokensToProto(const SequenceTokens& tokens, v1::SequenceTokens* message) {
  message->set_sequence(tokens.sequence.value());
  message->set_position(tokens.position);
  message->set_drafted(tokens.drafted);
  message->set_accepted(tokens.accepted);
  message->set_proposed(tokens.proposed);
  message->mutable_confidence()->Add(tokens.confidence.begin(), tokens.confidence.end());
  message->set_fault(static_cast<v1::SamplingFault>(tokens.fault));
  for (const CommittedToken& token : tokens.tokens) {
    v1::CommittedToken* committed = message->add_tokens();
    committed->set_token(token.token);
    if (token.logprob.has_value()) {
      committed->set_logprob(*token.logprob);
    }
    for (const TokenLogprob& top : token.top) {
      v1::TokenLogprob* entry = committed->add_top();
      entry->set_token(top.token);
      entry->set_logprob(top.logprob);
    }
  }
}

absl::StatusOr<SamplingFault> FaultFromProto(v1::SamplingFault fault) {
  switch (fault) {
    case v1::SAMPLING_FAULT_NONE:
      return SamplingFault::kNone;
    case v1::SAMPLING_FAULT_NO_TOKEN_ALLOWED:
      return SamplingFault::kNoTokenAllowed;
    case v1::SAMPLING_FAULT_LOGITS_NOT_FINITE:
      return SamplingFault::kLogitsNotFinite;
    default:
      return absl::InvalidArgumentError(
          absl::StrFormat("fault is %d: no such sampling fault", static_cast<int>(fault)));
  }
}

absl::StatusOr<SequenceTokens> TokensFromProto(const v1::SequenceTokens& message) {
  SequenceTokens tokens;
  ASSIGN_OR_RETURN(tokens.fault, FaultFromProto(message.fault()));
  tokens.sequence = SequenceId(message.sequence());
  tokens.position = message.position();
  tokens.drafted = message.drafted();
  tokens.accepted = message.accepted();
  tokens.proposed = message.proposed();
  tokens.confidence.assign(message.confidence().begin(), message.confidence().end());
  for (const v1::CommittedToken& committed : message.tokens()) {
    CommittedToken& token = tokens.tokens.emplace_back();
    token.token = committed.token();
    if (committed.has_logprob()) {
      token.logprob = committed.logprob();
    }
    for (const v1::TokenLogprob& top : committed.top()) {
      token.top.push_back({top.token(), top.logprob()});
    }
  }
  return tokens;
}

}  // namespace

void PlanToProto(const StepPlan& plan, v1::StepPlan* message) {
  const absl::Status status = CheckPlan(plan);
  CHECK(status.ok()) << status.message();
  message->Clear();
  message->set_version(kWireVersion);
  message->set_epoch(plan.epoch.value());
  message->set_step(plan.step.value());
  for (const SequenceId sequence : plan.close) {
    message->add_close(sequence.value());
  }
  for (const SequenceOpen& open : plan.open) {
    v1::SequenceOpen* entry = message->add_open();
    entry->set_sequence(open.sequence.value());
    entry->set_prompt_tokens(open.prompt_tokens);
    SamplingToProto(open.sampling, entry->mutable_sampling());
  }
  for (const BlockGrant& grant : plan.grants) {
    v1::BlockGrant* entry = message->add_grants();
    entry->set_sequence(grant.sequence.value());
    entry->mutable_blocks()->Add(grant.blocks.begin(), grant.blocks.end());
  }
  for (const RowSpan& span : plan.spans) {
    SpanToProto(span, message->add_spans());
  }
}

absl::StatusOr<StepPlan> PlanFromProto(const v1::StepPlan& message) {
  RETURN_IF_ERROR(CheckVersion(message.version()));
  StepPlan plan;
  plan.epoch = Epoch(message.epoch());
  plan.step = Step(message.step());
  for (const std::uint64_t sequence : message.close()) {
    plan.close.emplace_back(sequence);
  }
  for (const v1::SequenceOpen& open : message.open()) {
    ASSIGN_OR_RETURN(SamplingParams sampling, SamplingFromProto(open.sampling()));
    plan.open.push_back({SequenceId(open.sequence()), std::move(sampling), open.prompt_tokens()});
  }
  for (const v1::BlockGrant& grant : message.grants()) {
    plan.grants.push_back(
        {SequenceId(grant.sequence()), {grant.blocks().begin(), grant.blocks().end()}});
  }
  for (int i = 0; i < message.spans_size(); ++i) {
    ASSIGN_OR_RETURN(RowSpan span, SpanFromProto(message.spans(i), i));
    plan.spans.push_back(std::move(span));
  }
  RETURN_IF_ERROR(CheckPlan(plan));
  return plan;
}

void ResultToProto(const StepResult& result, v1::StepResult* message) {
  const absl::Status status = CheckResult(result);
  CHECK(status.ok()) << status.message();
  message->Clear();
  message->set_version(kWireVersion);
  message->set_epoch(result.epoch.value());
  message->set_step(result.step.value());
  message->set_rank(result.rank.value());
  for (const SequenceTokens& tokens : result.sequences) {
    TokensToProto(tokens, message->add_sequences());
  }
  message->set_digest(result.digest);
  message->mutable_times()->set_forward_ns(result.times.forward_ns);
  message->mutable_times()->set_exchange_ns(result.times.exchange_ns);
  message->mutable_times()->set_sample_ns(result.times.sample_ns);
  message->mutable_times()->set_draft_ns(result.times.draft_ns);
  message->mutable_times()->set_total_ns(result.times.total_ns);
}

absl::StatusOr<StepResult> ResultFromProto(const v1::StepResult& message) {
  RETURN_IF_ERROR(CheckVersion(message.version()));
  StepResult result;
  result.epoch = Epoch(message.epoch());
  result.step = Step(message.step());
  result.rank = Rank(message.rank());
  for (const v1::SequenceTokens& sequence : message.sequences()) {
    ASSIGN_OR_RETURN(SequenceTokens tokens, TokensFromProto(sequence));
    result.sequences.push_back(std::move(tokens));
  }
  result.digest = message.digest();
  result.times = {message.times().forward_ns(),
                  message.times().exchange_ns(),
                  message.times().sample_ns(),
                  message.times().draft_ns(),
                  message.times().total_ns()};
  RETURN_IF_ERROR(CheckResult(result));
  return result;
}

std::string EncodePlan(const StepPlan& plan) {
  google::protobuf::Arena arena;
  auto* message = google::protobuf::Arena::CreateMessage<v1::StepPlan>(&arena);
  PlanToProto(plan, message);
  return Serialise(*message);
}

std::string EncodeResult(const StepResult& result) {
  google::protobuf::Arena arena;
  auto* message = google::protobuf::Arena::CreateMessage<v1::StepResult>(&arena);
  ResultToProto(result, message);
  return Serialise(*message);
}

absl::StatusOr<StepPlan> DecodePlan(std::string_view bytes) {
  google::protobuf::Arena arena;
  ASSIGN_OR_RETURN(const v1::StepPlan* message, Parse<v1::StepPlan>(bytes, &arena));
  return PlanFromProto(*message);
}

absl::StatusOr<StepResult> DecodeResult(std::string_view bytes) {
  google::protobuf::Arena arena;
  ASSIGN_OR_RETURN(const v1::StepResult* message, Parse<v1::StepResult>(bytes, &arena));
  return ResultFromProto(*message);
}

}  // namespace sparkspan::engine::runtime
