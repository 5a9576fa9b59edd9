#include "app/completion.h"

#include <CLI/CLI.hpp>

namespace millrace::app {

namespace {

void collect(const CLI::App& app, const std::string& path, CommandWords& words) {
  auto& own = words[path];
  for (const auto* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    own.push_back(sub->get_name());
    collect(*sub, path + " " + sub->get_name(), words);
  }
  for (const auto* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) own.push_back("--" + name);
    for (const auto& name : option->get_snames()) own.push_back("-" + name);
  }
}

std::string joined(const std::vector<std::string>& words) {
  return fmt::format("{}", fmt::join(words, " "));
}

std::string bash_script(const CommandWords& words) {
  std::string out =
      "_millrace() {\n"
      "  local word path=millrace i\n"
      "  COMPREPLY=()\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    case \"$path ${COMP_WORDS[i]}\" in\n";
  std::vector<std::string> commands;
  for (const auto& [path, _] : words) {
    if (path != "millrace") commands.push_back("\"" + path + "\"");
  }
  out +=
      fmt::format("      {}) path=\"$path ${{COMP_WORDS[i]}}\" ;;\n", fmt::join(commands, " | "));
  out +=
      "    esac\n"
      "  done\n"
      "  case \"$path\" in\n";
  for (const auto& [path, own] : words)
    out += fmt::format("    \"{}\") word=\"{}\" ;;\n", path, joined(own));
  return out +
         "  esac\n"
         "  COMPREPLY=($(compgen -W \"$word\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
         "  if [ ${#COMPREPLY[@]} -eq 0 ]; then COMPREPLY=($(compgen -f -- "
         "\"${COMP_WORDS[COMP_CWORD]}\")); fi\n"
         "}\n"
         "complete -F _millrace millrace\n";
}

std::string fish_script(const CommandWords& words) {
  std::string out = "complete -c millrace -f\n";
  for (const auto& [path, own] : words) {
    std::string seen;
    size_t space = path.find(' ');
    std::string tail = space == std::string::npos ? "" : path.substr(space + 1);
    for (char c : tail) {
      if (c == ' ') {
        seen += "; and __fish_seen_subcommand_from ";
      } else {
        seen += c;
      }
    }
    std::string when =
        tail.empty() ? "__fish_use_subcommand" : "__fish_seen_subcommand_from " + seen;
    for (const auto& word : own) {
      if (!word.starts_with("-")) {
        out += fmt::format("complete -c millrace -n '{}' -a {}\n", when, word);
      } else if (word.starts_with("--")) {
        out += fmt::format("complete -c millrace -n '{}' -l {}\n", when, word.substr(2));
      } else {
        out += fmt::format("complete -c millrace -n '{}' -s {}\n", when, word.substr(1));
      }
    }
  }
  return out;
}

}  // namespace

CommandWords command_words(const CLI::App& app) {
  CommandWords words;
  collect(app, app.get_name(), words);
  return words;
}

std::string completion_script(const std::string& shell, const CommandWords& words) {
  if (shell == "fish") return fish_script(words);
  std::string script = bash_script(words);
  // zsh runs bash completions as they are.
  return shell == "zsh" ? "autoload -U +X bashcompinit && bashcompinit\n" + script : script;
}

}  // namespace millrace::app
