#include "base/io/env.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/uio.h>
#include <unistd.h>

#include <filesystem>
#include <future>

#include "base/io/detail/file_ring.h"
#include "base/io/shard.h"

namespace millrace::io {
namespace {

/// A folder of the test's own, gone at its end.
struct Scratch {
  Scratch() {
    auto name = (std::filesystem::temp_directory_path() / "millrace-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~Scratch() { std::filesystem::remove_all(path); }
  std::string path;
};

Task<void> use_file(FileSystem& files, std::string path) {
  auto opened = files.open(path, FileSystem::Mode::kCreate);
  EXPECT_TRUE(opened) << opened.error().text;
  auto file = std::move(*opened);
  EXPECT_TRUE(co_await file->write(0, "hello "));
  std::vector<std::string> owned;
  for (int i = 0; i < 3000; ++i) owned.push_back(std::to_string(i) + ",");
  const std::vector<std::string_view> parts(owned.begin(), owned.end());  // more than IOV_MAX
  EXPECT_TRUE(co_await file->write_parts(6, parts));
  EXPECT_TRUE(co_await file->sync());
  std::string whole = "hello ";
  for (const auto& part : owned) whole += part;
  EXPECT_EQ(file->size(), whole.size());
  std::string read = "before ";
  const auto got = co_await file->read(0, 1u << 20, &read);
  EXPECT_EQ(*got, whole.size());
  EXPECT_EQ(read, "before " + whole);
  EXPECT_TRUE(co_await file->truncate(5));
  read.clear();
  const auto less = co_await file->read(3, 100, &read);
  EXPECT_EQ(*less, 2u);
  EXPECT_EQ(read, "lo");
  const auto past = co_await file->read(100, 100, &read);
  EXPECT_EQ(*past, 0u);
}

TEST(RealEnv, WritesAndReadsFilesThroughTheRing) {
  const Scratch scratch;
  const auto env = make_real_env();
  Runtime runtime(1, 0);
  runtime.shard(0).block_on(use_file(env->files(), scratch.path + "/file"));
}

/// Starts an operation and resumes on whatever thread the ring posts to.
struct Await {
  detail::FileRing& ring;
  detail::FileOp& op;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) const {
    op.waiter = h;
    ring.start(op);
  }
  int64_t await_resume() const noexcept { return op.result; }
};

detail::Detached run_op(detail::FileRing& ring, detail::FileOp op, std::promise<int64_t>& done) {
  auto running = Await{ring, op};
  const int64_t result = co_await running;
  done.set_value(result);
}

int64_t run_by_thread(detail::FileOp op) {
  const auto post = [](std::move_only_function<void()> work) { work(); };
  detail::FileRing ring(post, false);
  EXPECT_LT(ring.event_fd(), 0);
  std::promise<int64_t> done;
  run_op(ring, op, done);
  return done.get_future().get();
}

TEST(FileRing, ServesByAPlainThreadWhereThereIsNoRing) {
  const Scratch scratch;
  const int fd = ::open((scratch.path + "/file").c_str(), O_RDWR | O_CREAT, 0600);
  ASSERT_GE(fd, 0);
  using Kind = detail::FileOp::Kind;
  std::string bytes = "hello";
  EXPECT_EQ(run_by_thread({Kind::kWrite, fd, 0, bytes.data(), 5}), 5);
  iovec parts[] = {{bytes.data(), 2}, {bytes.data(), 3}};
  EXPECT_EQ(run_by_thread({Kind::kWriteParts, fd, 5, reinterpret_cast<char*>(parts), 2}), 5);
  EXPECT_EQ(run_by_thread({Kind::kSync, fd}), 0);
  std::string read(20, '\0');
  EXPECT_EQ(run_by_thread({Kind::kRead, fd, 0, read.data(), read.size()}), 10);
  EXPECT_EQ(read.substr(0, 10), "hellohehel");
  ::close(fd);
  EXPECT_EQ(run_by_thread({Kind::kSync, fd}), -EBADF);
}

TEST(RealEnv, MakesListsAndRemovesFolders) {
  const Scratch scratch;
  const auto env = make_real_env();
  auto& files = env->files();
  const auto deep = scratch.path + "/a/b/c";
  ASSERT_TRUE(files.make_folder(deep));
  ASSERT_TRUE(files.make_folder(deep));
  ASSERT_TRUE(files.replace_file(deep + "/two", "2"));
  ASSERT_TRUE(files.replace_file(deep + "/one", "1"));
  ASSERT_TRUE(files.replace_file(deep + "/one", "1 again"));
  EXPECT_EQ(*files.list(deep), (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(*files.read_file(deep + "/one"), "1 again");
  ASSERT_TRUE(files.rename(deep + "/one", deep + "/three"));
  EXPECT_FALSE(files.exists(deep + "/one"));
  ASSERT_TRUE(files.remove(deep + "/three"));
  EXPECT_EQ(files.read_file(deep + "/three").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(files.open(deep + "/three", FileSystem::Mode::kRead).error().code,
            ErrorCode::kNotFound);
  ASSERT_TRUE(files.remove_folder(scratch.path + "/a"));
  EXPECT_FALSE(files.exists(deep));
}

}  // namespace
}  // namespace millrace::io
