#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/broker.h"
#include "flow/detail/lanes.h"
#include "flow/detail/source.h"
#include "flow/detail/source_registry.h"

namespace millrace::flow {

/// Where the dead letters of one topic stand: what a restart goes on from.
struct LettersMark {
  Uuid topic;          // the id: a topic created anew begins anew
  Offset letters = 0;  // letters of this topic at or past it may be younger than the mark
  std::vector<Offset> positions;  // by partition: everything below was looked at
};

/// The marks of all topics, as one small file.
class LettersMarks {
 public:
  LettersMarks(io::FileSystem& files, std::string path) : files_(files), path_(std::move(path)) {}
  Result<> load();
  std::optional<LettersMark> find(const std::string& topic) const;
  /// Not durable before save().
  void put(const std::string& topic, LettersMark mark);
  void erase(const std::string& topic);
  Result<> save();

 private:
  io::FileSystem& files_;
  const std::string path_;
  mutable std::mutex mutex_;
  std::map<std::string, LettersMark> marks_;
  bool changed_ = false;
};

/// Copies the records of one topic that do not fit its columns to `<topic>.dead_letter`, each once:
/// a letter says which record it is, and after a crash the letters say which were written.
class TopicLetters : public Job {
 public:
  TopicLetters(io::Env& env, broker::Broker& broker, std::shared_ptr<Source> source,
               LettersMarks& marks);
  ~TopicLetters() override;

  std::optional<Clock::time_point> run() override;
  const broker::Topic& topic() const { return source_->topic(); }

 private:
  Result<> open();
  Result<> recover(const LettersMark& mark);
  Result<bool> look();
  /// Puts where it stands into the marks: only where positions and letters agree.
  void mark();
  /// Bad records with their partitions, those of a partition together and in order.
  using Bad = std::vector<std::pair<int32_t, const sql::BadRecord*>>;
  /// The records' own headers, by partition and offset.
  using Headers = std::map<std::pair<int32_t, Offset>,
                           std::vector<std::pair<std::string, std::optional<std::string>>>>;
  Result<> write(const Bad& bad);
  Headers headers_of(const Bad& bad) const;
  std::string build(const Bad& bad) const;

  io::Env& env_;
  broker::Broker& broker_;
  const std::shared_ptr<Source> source_;
  std::shared_ptr<Source::Reader> reader_;
  LettersMarks& marks_;
  const std::string name_;  // of the letters' topic
  bool opened_ = false;
  bool marked_ = false;  // the marks know this topic
  std::vector<Offset> positions_;
};

/// Watches which topics there are, and has a TopicLetters for each whose bad records are to be
/// kept. Itself a job: it looks again every second.
class DeadLetters : public Job, public std::enable_shared_from_this<DeadLetters> {
 public:
  DeadLetters(io::Env& env, broker::Broker& broker, SourceRegistry& sources,
              std::shared_ptr<Lanes> lanes);

  std::optional<Clock::time_point> run() override;
  /// After the lanes have stopped.
  void stop();

 private:
  void add(const std::shared_ptr<const broker::Topic>& topic);
  void remove(const std::string& topic);
  void save();

  io::Env& env_;
  broker::Broker& broker_;
  SourceRegistry& sources_;
  const std::weak_ptr<Lanes> lanes_;
  LettersMarks marks_;
  bool loaded_ = false;
  Clock::time_point saved_ = Clock::now();
  std::map<std::string, std::shared_ptr<TopicLetters>> topics_;
  std::set<Uuid> refused_;  // topics that cannot be decoded, told once
};

}  // namespace millrace::flow
