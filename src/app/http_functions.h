#pragma once

#include <memory>

#include "broker/transforms.h"
#include "catalog/catalog.h"
#include "http/functions.h"
#include "sql/engine.h"

namespace millrace::app {

/// The node's functions for HTTP. What is posted becomes a statement, so that there is one way in
/// which functions are made. The rooms outlive it.
std::unique_ptr<http::Functions> functions_over_http(catalog::Catalog& catalog,
                                                     broker::Transforms& transforms,
                                                     sql::Engine& engine);

}  // namespace millrace::app
