#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <list>
#include <string>

#include "base/io/socket.h"

namespace millrace::io {

struct Socket::Impl {
  Impl(Shard& shard, boost::asio::ip::tcp::socket native);
  ~Impl();
  void shutdown();

  Shard& shard;
  boost::asio::ip::tcp::socket socket;
  std::string peer;
  bool shut = false;
  std::list<Impl*>* open = nullptr;  // the listener's list of what is open on this shard
};

}  // namespace millrace::io
