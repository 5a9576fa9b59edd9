#pragma once

#include <map>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace millrace::app {

/// The words that may follow each command: "millrace topic" -> list, create, …, --data. Read off
/// the parser itself.
using CommandWords = std::map<std::string, std::vector<std::string>>;
CommandWords command_words(const CLI::App& app);

/// A completion script for bash, zsh or fish.
std::string completion_script(const std::string& shell, const CommandWords& words);

}  // namespace millrace::app
