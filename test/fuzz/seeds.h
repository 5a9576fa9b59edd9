#pragma once

#include <string>
#include <vector>

/// Inputs that a fuzz target begins from; defined by each target. Whole, valid ones: mutations of
/// these reach deeper than noise does.
std::vector<std::string> fuzz_seeds();
