// Guard "sensitive-topic": people decide, or nothing passes, when a user speaks of one of the configured phrases.
#include "aegis_guard.hpp"

struct SensitiveTopic {
  static constexpr aegis::Stage stages[] = {aegis::Stage::ingress};
  static constexpr aegis::About about{.name = "sensitive-topic",
                                      .version = "1.0.0",
                                      .description = "Asks for human review of sensitive topics",
                                      .stages = stages,
                                      .scope = aegis::Scope::message};
  enum Action { require_approval, block };
  aegis::Texts phrases;
  Action action = require_approval;

  void settings(aegis::Settings &from) {
    from.required("phrases", phrases, "Found wherever they stand, in whatever case");
    from.choice("action", action, {"require_approval", "block"}, "What follows when one is found");
  }

  aegis::Report scan(const aegis::Input &input) const {
    aegis::Findings found;
    for (const aegis::Text &text : input.texts())
      if (text.is_from(aegis::Role::user)) text.find(phrases, found);
    if (found.empty()) return aegis::Report::allow();

    std::string topic(aegis::view(found[0].rule));
    if (topic[0] >= 'a' && topic[0] <= 'z') topic[0] -= 'a' - 'A';
    return action == block ? aegis::Report::block(topic + " is not allowed", found)
                           : aegis::Report::require_approval(topic + " requires human review", found);
  }
};
AEGIS_GUARD(SensitiveTopic)
