// Asks for human review where a word of the settings is spoken of.
#include "aegis_guard.hpp"

struct {{Camel}} {
  static constexpr aegis::About about{.name = "{{name}}",
                                      .version = "0.1.0",
                                      .description = "Asks for human review where a word of the settings is spoken of",
                                      .scope = aegis::Scope::message};
  aegis::Texts words;

  void settings(aegis::Settings &from) { from.required("words", words, "What asks for review, in whatever case"); }

  aegis::Report scan(const aegis::Input &input) const {
    aegis::Findings found = input.find(words);
    if (found.empty()) return aegis::Report::allow();
    return aegis::Report::require_approval("A word was found: is this all right?", found);
  }
};
AEGIS_GUARD({{Camel}})
