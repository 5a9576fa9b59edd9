#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "base/logging.h"
#include "broker/dead_letter.h"
#include "broker/pipelines.h"
#include "catalog/function.h"
#include "catalog/pipeline.h"
#include "catalog/sink.h"
#include "sql/detail/ddl.h"
#include "sql/detail/function_checks.h"
#include "sql/detail/pipeline_statements.h"

namespace millrace::sql {
namespace {

using catalog::Kind;
using catalog::Object;
using catalog::Transform;

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

std::vector<std::string> inputs_of(const Object& pipeline) {
  return catalog::pipeline_topics(pipeline, catalog::kPipelineInputs);
}
std::vector<std::string> outputs_of(const Object& pipeline) {
  return catalog::pipeline_topics(pipeline, catalog::kPipelineOutputs);
}

bool is_stateful(const catalog::Snapshot& snapshot, const Object& pipeline) {
  return std::ranges::any_of(pipeline.transforms, [&](const Transform& step) {
    return catalog::export_kind(snapshot, step) == "aggregate";
  });
}

bool names_known(const catalog::Snapshot& snapshot, const CreatePipeline& create) {
  const auto known = [&](const std::string& name) { return snapshot.find(name) != nullptr; };
  return std::ranges::all_of(create.topics, known, &std::pair<std::string, size_t>::first) &&
         std::ranges::all_of(create.object.transforms, known, &Transform::function);
}

/// The topics of one list, spelt as they are called, each checked.
class Topics {
 public:
  Topics(const catalog::Snapshot& snapshot, const CreatePipeline& create)
      : snapshot_(snapshot), create_(create) {}

  Result<std::vector<const Object*>> list(const char* option, bool written) {
    std::vector<const Object*> out;
    for (const auto& name : catalog::pipeline_topics(create_.object, option)) {
      const auto position = create_.topics[next_++].second;
      const auto* topic = snapshot_.find(name);
      if (!topic) {
        return Error{ErrorCode::kUndefinedObject, fmt::format("topic \"{}\" does not exist", name),
                     position};
      }
      const auto why = refusal(*topic, written);
      if (!why.empty()) {
        return Error{ErrorCode::kNotSupported,
                     fmt::format("a transform cannot {} \"{}\": {}", written ? "write" : "read",
                                 topic->name, why),
                     position};
      }
      out.push_back(topic);
    }
    return out;
  }

 private:
  std::string refusal(const Object& topic, bool written) const {
    if (topic.kind != Kind::kTopic) return fmt::format("it is a {}", catalog::shown_kind(topic));
    if (topic.name.starts_with("__")) return "it is the node's own";
    if (!written) return {};
    if (catalog::sink_of(snapshot_, topic.name)) return "a sink writes it";
    if (broker::is_dead_letter_topic(topic.name)) return "it holds dead letters";
    return {};
  }

  const catalog::Snapshot& snapshot_;
  const CreatePipeline& create_;
  size_t next_ = 0;
};

/// Follows records through pipelines, views and sinks.
class Flow {
 public:
  Flow(const catalog::Snapshot& snapshot, const Object& pipeline)
      : snapshot_(snapshot), pipeline_(pipeline), targets_(inputs_of(pipeline)) {}

  /// Whether what is written to `name` comes to an input of the pipeline.
  bool returns(const std::string& name) {
    if (contains(targets_, name)) return true;
    if (!seen_.insert(name).second) return false;
    return std::ranges::any_of(snapshot_.dependents(name), [&](const Object* reader) {
      if (reader->kind != Kind::kPipeline) {
        return returns(reader->name) ||
               (catalog::is_sink(*reader) && returns(catalog::sink_topic(*reader)));
      }
      return reader->name != pipeline_.name && contains(inputs_of(*reader), name) &&
             std::ranges::any_of(outputs_of(*reader),
                                 [&](const std::string& output) { return returns(output); });
    });
  }

 private:
  const catalog::Snapshot& snapshot_;
  const Object& pipeline_;
  const std::vector<std::string> targets_;
  std::set<std::string> seen_;
};

/// An aggregate's states are by key, and stand with the partition that its records come from.
Result<> check_aggregate(const std::vector<const Object*>& inputs,
                         const std::vector<std::string>& kinds, const CreatePipeline& create) {
  const auto at = std::ranges::find(kinds, "aggregate");
  if (at == kinds.end()) return {};
  const auto position = create.steps[static_cast<size_t>(at - kinds.begin())];
  if (std::count(at, kinds.end(), "aggregate") > 1) {
    return Error{ErrorCode::kNotSupported, "a transform has one aggregate at the most", position,
                 "Let a second transform read what the first has written."};
  }
  const auto other = std::ranges::find_if(
      inputs, [&](const Object* topic) { return topic->partitions != inputs.front()->partitions; });
  if (other != inputs.end()) {
    return Error{ErrorCode::kNotSupported,
                 fmt::format("topic \"{}\" has {} partitions and topic \"{}\" has {}: an aggregate "
                             "would find one key in several of them",
                             inputs.front()->name, inputs.front()->partitions, (*other)->name,
                             (*other)->partitions),
                 position,
                 "Give the inputs as many partitions, or write one of them to a topic that has, by "
                 "a transform of its own."};
  }
  const bool keeps_keys =
      std::all_of(kinds.begin(), at, [](const std::string& kind) { return kind == "filter"; });
  if (keeps_keys || inputs.front()->partitions == 1) return {};
  return Error{ErrorCode::kNotSupported,
               "what stands before an aggregate may give records another key, which would be "
               "aggregated in each partition for itself",
               position,
               "Write what comes before the aggregate to a topic, by a transform of its own: there "
               "records are in the partitions of their keys. Filters may stay."};
}

Error in_use(const Object& object, const Object& pipeline) {
  return Error{ErrorCode::kDependentObjects,
               fmt::format("{} \"{}\" cannot be dropped: transform \"{}\" uses it",
                           catalog::shown_kind(object), catalog::shown_name(object), pipeline.name),
               std::nullopt, fmt::format("DROP TRANSFORM {} first.", quoted(pipeline.name))};
}

/// The pipeline with what the statement has left open; checked.
class Completion {
 public:
  Completion(const catalog::Snapshot& snapshot, broker::Transforms& transforms,
             const CreatePipeline& create)
      : snapshot_(snapshot), transforms_(transforms), create_(create), pipeline_(create.object) {}

  Result<Object> complete(const Object* old, const std::string& user) {
    Topics topics(snapshot_, create_);
    MR_TRY(const auto inputs, topics.list(catalog::kPipelineInputs, false));
    MR_TRY(const auto outputs, topics.list(catalog::kPipelineOutputs, true));
    pipeline_.options[catalog::kPipelineInputs] = name_all(inputs);
    pipeline_.options[catalog::kPipelineOutputs] = name_all(outputs);
    for (size_t i = 0; i < pipeline_.transforms.size(); ++i) {
      MR_TRY(complete_step(pipeline_.transforms[i], create_.steps[i], user));
    }
    MR_TRY(check_aggregate(inputs, kinds_, create_));
    Flow flow(snapshot_, pipeline_);
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!flow.returns(outputs[i]->name)) continue;
      return Error{ErrorCode::kInvalidArgument,
                   fmt::format("what is written to \"{}\" would come back to the transform, "
                               "without end",
                               outputs[i]->name),
                   create_.topics[inputs.size() + i].second};
    }
    pipeline_.name = old ? old->name : pipeline_.name;
    pipeline_.id = old ? old->id : Uuid::random();
    pipeline_.owner = user;
    for (const auto& step : pipeline_.transforms) pipeline_.depends_on.push_back(step.function);
    pipeline_.depends_on.push_back(catalog::pipeline_state_topic(pipeline_));
    std::ranges::sort(pipeline_.depends_on);
    const auto rest = std::ranges::unique(pipeline_.depends_on);
    pipeline_.depends_on.erase(rest.begin(), rest.end());
    pipeline_.sql = pipeline_sql(pipeline_);
    return std::move(pipeline_);
  }

 private:
  std::string name_all(const std::vector<const Object*>& topics) {
    std::vector<std::string> names;
    for (const auto* topic : topics) names.push_back(topic->name);
    pipeline_.depends_on.insert(pipeline_.depends_on.end(), names.begin(), names.end());
    return fmt::format("{}", fmt::join(names, ","));
  }

  Result<> complete_step(Transform& step, size_t position, const std::string& user) {
    const auto* function = snapshot_.find(step.function);
    if (!function || function->kind != Kind::kFunction) {
      return Error{ErrorCode::kUndefinedFunction,
                   fmt::format("function \"{}\" does not exist", step.function), position,
                   "CREATE FUNCTION name LANGUAGE wasm FROM 'path.wasm'. SHOW FUNCTIONS lists "
                   "those that there are."};
    }
    step.function = function->name;
    step.owner = user;
    MR_TRY(const auto exported, find_export(*function, step, position));
    step.export_name = exported.name;
    if (exported.kind == "scalar") {
      return Error{ErrorCode::kNotSupported,
                   fmt::format("\"{}\" is a scalar, which is for SQL expressions", exported.name),
                   position};
    }
    kinds_.push_back(exported.kind);
    auto checked = transforms_.check(step);
    if (checked) return {};
    auto error = std::move(checked).error();
    error.position = position;
    return error;
  }

  const catalog::Snapshot& snapshot_;
  broker::Transforms& transforms_;
  const CreatePipeline& create_;
  Object pipeline_;
  std::vector<std::string> kinds_;
};

Result<const Object*> owned_pipeline(const catalog::Snapshot& snapshot, const std::string& name,
                                     size_t position, const std::string& user) {
  const auto* pipeline = snapshot.find(name);
  if (!pipeline || pipeline->kind != Kind::kPipeline) {
    return Error{ErrorCode::kUndefinedObject, fmt::format("transform \"{}\" does not exist", name),
                 position};
  }
  if (pipeline->owner == user) return pipeline;
  return not_owner(fmt::format("transform \"{}\"", pipeline->name), pipeline->owner, user);
}

}  // namespace

Result<> check_pipelines(const catalog::Snapshot& snapshot, const Object& object, bool cascade) {
  const auto* topic =
      catalog::is_sink(object) ? snapshot.find(catalog::sink_topic(object)) : nullptr;
  for (const auto* each : {&object, topic}) {
    if (!each) continue;
    for (const auto* user : snapshot.dependents(each->name)) {
      // Not by CASCADE either: it belongs to somebody, and has states.
      if (user->kind == Kind::kPipeline) return in_use(*each, *user);
      if (cascade) MR_TRY(check_pipelines(snapshot, *user, true));
    }
  }
  return {};
}

Result<> check_pipelines(const catalog::Snapshot& snapshot, const Object& old, const Object& next) {
  if (old.kind != Kind::kTopic || old.partitions == next.partitions) return {};
  for (const auto* user : snapshot.dependents(old.name)) {
    if (user->kind != Kind::kPipeline || !is_stateful(snapshot, *user)) continue;
    if (!contains(inputs_of(*user), old.name)) continue;
    return Error{
        ErrorCode::kDependentObjects,
        fmt::format("topic \"{}\" cannot get partitions: keys would move from one to another, and "
                    "transform \"{}\" aggregates by key",
                    old.name, user->name),
        std::nullopt, fmt::format("DROP TRANSFORM {} first.", quoted(user->name))};
  }
  return {};
}

Result<Definitions::Outcome> Definitions::create(const CreatePipeline& create,
                                                 const std::string& user, bool dry_run) {
  auto* transforms = core_.broker.transforms();
  auto* pipelines = transforms ? transforms->pipelines() : nullptr;
  if (!pipelines) return no_guests();
  std::lock_guard lock(mutex_);
  const auto snapshot = core_.catalog.snapshot();
  const auto* old = snapshot->find(create.object.name);
  if (old && create.if_not_exists) return Outcome::kSkipped;
  if (old && (!create.or_replace || old->kind != Kind::kPipeline)) {
    return Error{ErrorCode::kDuplicateObject,
                 fmt::format("{} \"{}\" already exists", catalog::shown_kind(*old),
                             catalog::shown_name(*old)),
                 std::nullopt,
                 old->kind == Kind::kPipeline
                     ? "Use CREATE OR REPLACE TRANSFORM, or CREATE TRANSFORM IF NOT EXISTS."
                     : "Choose another name."};
  }
  if (old && old->owner != user) {
    return not_owner(fmt::format("transform \"{}\"", old->name), old->owner, user);
  }
  const auto outcome = old ? Outcome::kReplaced : Outcome::kCreated;
  // A dry run cannot know what the statements before it would have created.
  if (dry_run && !names_known(*snapshot, create)) return outcome;
  MR_TRY(auto pipeline, Completion(*snapshot, *transforms, create).complete(old, user));
  if (old) {
    if (old->options.contains(catalog::kPipelinePaused)) {
      pipeline.options[catalog::kPipelinePaused] = "true";
    }
    if (old->same_definition(pipeline)) return Outcome::kUnchanged;
  }
  if (dry_run) return outcome;
  if (old) pipelines->stop(old->name);
  const auto put = [&]() -> Result<Object> {
    MR_TRY(pipelines->prepare(pipeline, old));
    return core_.any_shard().block_on(core_.catalog.put(pipeline, old != nullptr));
  };
  auto stored = put();
  if (!stored) {
    const auto undone = old ? pipelines->start(*old) : pipelines->forget(pipeline);
    if (!undone) {
      logging::error("a definition could not be undone",
                     {{"transform", pipeline.name}, {"reason", undone.error().text}});
    }
    return std::move(stored).error();
  }
  MR_TRY(pipelines->start(*stored));
  return outcome;
}

Result<> Definitions::drop_pipeline(const DropObject& drop, const std::string& user) {
  std::lock_guard lock(mutex_);
  const auto snapshot = core_.catalog.snapshot();
  if (drop.if_exists && !snapshot->find(drop.name)) return {};
  MR_TRY(const auto* pipeline, owned_pipeline(*snapshot, drop.name, drop.name_begin, user));
  auto* transforms = core_.broker.transforms();
  auto* pipelines = transforms ? transforms->pipelines() : nullptr;
  if (!pipelines) return no_guests();
  pipelines->stop(pipeline->name);
  auto dropped = core_.any_shard().block_on(core_.catalog.drop(pipeline->name));
  if (dropped) return pipelines->forget(*pipeline);
  if (auto again = pipelines->start(*pipeline); !again) {
    logging::error("a transform does not run any more", {{"transform", pipeline->name}});
  }
  return dropped;
}

Result<> Definitions::alter(const AlterPipeline& alter, const std::string& user) {
  std::lock_guard lock(mutex_);
  const auto snapshot = core_.catalog.snapshot();
  MR_TRY(const auto* pipeline, owned_pipeline(*snapshot, alter.name, alter.name_begin, user));
  auto* transforms = core_.broker.transforms();
  auto* pipelines = transforms ? transforms->pipelines() : nullptr;
  if (!pipelines) return no_guests();
  auto next = *pipeline;
  next.options.erase(catalog::kPipelinePaused);
  if (alter.paused) next.options[catalog::kPipelinePaused] = "true";
  MR_TRY(auto stored, core_.any_shard().block_on(core_.catalog.put(std::move(next), true)));
  return pipelines->start(stored);
}

}  // namespace millrace::sql
