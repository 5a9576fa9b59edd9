#pragma once

#include <memory>
#include <string>

#include "base/io/socket.h"
#include "catalog/catalog.h"
#include "sql/engine.h"

namespace millrace::pgwire {

/// The PostgreSQL protocol, version 3, over sql::Session.
class Server {
 public:
  /// Who says the name of one of `users`' users must show its password; any other name is taken as
  /// it is. Null: nobody is asked. The catalog outlives the server.
  static Result<std::unique_ptr<Server>> listen(io::Runtime& runtime, io::Env& env,
                                                sql::Engine& engine, std::string_view address,
                                                const catalog::Catalog* users = nullptr);
  virtual ~Server() = default;
  virtual const std::string& address() const = 0;
  /// Stops accepting, lets running statements end within `grace`, closes.
  virtual io::Task<void> close(std::chrono::milliseconds grace) = 0;
};

}  // namespace millrace::pgwire
