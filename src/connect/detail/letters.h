#pragma once

#include <string>

#include "broker/dead_letter.h"
#include "catalog/catalog.h"
#include "connect/detail/guests.h"
#include "connect/detail/records.h"

namespace millrace::connect {

/// Adds the letter of a record that failed in the transforms of `connector`, as it went in.
void add_letter(log::BatchBuilder& letters, TimestampMs now, const catalog::Object& connector,
                const std::string& topic, const Shaped::Failed& failed, const Records& records);

}  // namespace millrace::connect
