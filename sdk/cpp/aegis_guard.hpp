// Write a guard for Aegis in C++20 or newer. A guard is a function of what it is handed: no files, no network, no clock, no randomness.
//
//     #include "aegis_guard.hpp"
//
//     struct Words {
//       static constexpr aegis::About about{.name = "words", .version = "0.1.0", .description = "Blocks forbidden words"};
//       aegis::Texts words;
//
//       void settings(aegis::Settings &from) { from.required("words", words, "What nobody may say"); }
//
//       aegis::Report scan(const aegis::Input &input) const {
//         return aegis::Report::block_if_any("a forbidden word", input.find(words));
//       }
//     };
//     AEGIS_GUARD(Words)
//
// A guard may also have `std::string configured()`: what is dear happens here, once, at load; why the settings are refused, or nothing. And
// `std::vector<std::string_view> warm_up()`: texts like those of the traffic, scanned at load, so that whatever fills lazily is full when the
// first real text comes.
//
// What to know:
//   - One instance, one scan: what the guard holds after `configured` is there in every scan, and what a scan puts there is gone after it. What has
//     to last until a later stage of the same run goes through `Report::remember` and comes back as `Input::memory`.
//   - Texts are UTF-8, and offsets count their bytes, as in std::string_view.
//   - There are no exceptions: a guard that cannot judge returns `Report::cannot_judge(why)`. An abort means the same, with less to read. Nothing
//     passes a failed guard.
#pragma once

#include "aegis_guard.h"
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace aegis {

enum class Stage : uint8_t { ingress = AEGIS_INGRESS, tool_result = AEGIS_TOOL_RESULT, tool_call = AEGIS_TOOL_CALL, egress = AEGIS_EGRESS };
enum class Role : uint8_t { system = AEGIS_SYSTEM, developer = AEGIS_DEVELOPER, user = AEGIS_USER, assistant = AEGIS_ASSISTANT, tool = AEGIS_TOOL };
enum class Scope : uint8_t { conversation = AEGIS_CONVERSATION, message = AEGIS_MESSAGE };
using Finding = aegis_finding;
using Findings = std::vector<Finding>;
using Place = aegis_place;

inline std::string_view view(aegis_text it) { return {it.ptr, it.len}; }

// A copy that lives until the scan is over.
inline aegis_text copy(std::string_view it) {
  char *to = static_cast<char *>(aegis_alloc(it.size() + 1));
  if (!it.empty()) memcpy(to, it.data(), it.size());
  return {to, it.size()};
}

// A list of texts.
class Texts {
  aegis_texts raw{};

 public:
  struct iterator {
    const aegis_text *at;
    std::string_view operator*() const { return view(*at); }
    iterator &operator++() { ++at; return *this; }
    bool operator!=(const iterator &other) const { return at != other.at; }
  };
  Texts() = default;
  Texts(aegis_texts from) : raw(from) {}
  iterator begin() const { return {raw.ptr}; }
  iterator end() const { return {raw.ptr + raw.len}; }
  size_t size() const { return raw.len; }
  bool empty() const { return raw.len == 0; }
  std::string_view operator[](size_t i) const { if (i >= raw.len) abort(); return view(raw.ptr[i]); }
  aegis_texts *operator&() { return &raw; }
};

// Where the guard's members are named that are settings. What they hold at the start is the default.
class Settings {
  std::vector<aegis_setting> &to;
  void add(const char *name, aegis_kind kind, void *member, const char *description, bool required, const char *const *choices = nullptr) {
    to.push_back({.name = name, .kind = kind, .to = member, .description = description, .choices = choices, .required = required});
  }

 public:
  explicit Settings(std::vector<aegis_setting> &to) : to(to) {}
  void required(const char *name, Texts &member, const char *description) { add(name, AEGIS_TEXTS, &member, description, true); }
  void required(const char *name, aegis_text &member, const char *description) { add(name, AEGIS_TEXT, &member, description, true); }
  void required(const char *name, double &member, const char *description) { add(name, AEGIS_NUMBER, &member, description, true); }
  void optional(const char *name, Texts &member, const char *description) { add(name, AEGIS_TEXTS, &member, description, false); }
  void optional(const char *name, aegis_text &member, const char *description) { add(name, AEGIS_TEXT, &member, description, false); }
  void optional(const char *name, double &member, const char *description) { add(name, AEGIS_NUMBER, &member, description, false); }
  void optional(const char *name, bool &member, const char *description) { add(name, AEGIS_BOOL, &member, description, false); }
  // An enum whose values count from 0, in the order of the names.
  template <class Enum> requires(sizeof(Enum) == sizeof(int))
  void choice(const char *name, Enum &member, std::initializer_list<const char *> names, const char *description) {
    auto choices = static_cast<const char **>(calloc(names.size() + 1, sizeof(char *)));
    if (!choices) abort();
    std::copy(names.begin(), names.end(), choices);
    add(name, AEGIS_CHOICE, &member, description, false, choices);
  }
};

// A text of the input, and where it stands.
class Text {
  aegis_cursor it;

 public:
  explicit Text(const aegis_cursor &it) : it(it) {}
  std::string_view text() const { return view(it.text); }
  Place at() const { return it.at; }
  // Arguments of a call, or a part that is neither text nor media (which may not be edited).
  bool json() const { return it.json; }
  // The message it stands in; nullptr for the description of a tool.
  const aegis_message *message() const { return it.message; }
  bool is_from(Role role) const { return it.message && it.message->role == static_cast<uint8_t>(role); }

  // Evidence that `rule` saw something at these bytes of the text.
  Finding finding(std::string_view rule, size_t start, size_t end) const {
    return {.rule = copy(rule), .at = it.at, .start = uint32_t(start), .end = uint32_t(end), .score = {}};
  }

  // Where one of the phrases stands, in any case of ASCII letters; the phrase is the rule.
  template <class List> void find(const List &phrases, Findings &to) const {
    for (std::string_view phrase : phrases)
      for (size_t at = 0; (at = aegis_position(it.text, {phrase.data(), phrase.size()}, at)) != SIZE_MAX; at += phrase.size())
        to.push_back(finding(phrase, at, at + phrase.size()));
  }
};

class Input {
  const aegis_input &raw;

 public:
  explicit Input(const aegis_input &raw) : raw(raw) {}
  const aegis_input *operator->() const { return &raw; }
  Stage stage() const { return static_cast<Stage>(raw.stage); }
  std::span<const aegis_message> messages() const { return {raw.messages.ptr, raw.messages.len}; }
  // What this guard handed back at an earlier stage of this run.
  std::optional<std::string_view> memory() const { return raw.memory.is_some ? std::optional(view(raw.memory.value)) : std::nullopt; }

  // The texts that the stage is about: at ingress tool descriptions and all of every message, at tool_result messages of role tool, at tool_call the
  // arguments of the reply's calls, at egress the reply's parts.
  std::vector<Text> texts() const {
    std::vector<Text> out;
    for (aegis_cursor it = aegis_begin(&raw); aegis_next(&it);) out.emplace_back(it);
    return out;
  }

  // In all texts of the stage.
  template <class List> Findings find(const List &phrases) const {
    Findings found;
    for (const Text &text : texts()) text.find(phrases, found);
    return found;
  }
};

class Report {
  aegis_report raw{};

 public:
  static Report allow(const Findings &found = {}) {
    Report out;
    out.raw.findings.len = found.size();
    out.raw.findings.ptr = static_cast<Finding *>(aegis_alloc(found.size() * sizeof(Finding)));
    if (!found.empty()) memcpy(out.raw.findings.ptr, found.data(), found.size() * sizeof(Finding));
    return out;
  }
  static Report block(std::string_view why, const Findings &found = {}) {
    Report out = allow(found);
    aegis_block(&out.raw, "%.*s", int(why.size()), why.data());
    return out;
  }
  static Report block_if_any(std::string_view why, const Findings &found) { return found.empty() ? allow() : block(why, found); }
  // `approvers`: only these may decide (principals, `team:…`, `role:…`); none: whoever the configuration names. `required`: at least so many people.
  static Report require_approval(std::string_view prompt, const Findings &found = {}, const std::vector<std::string> &approvers = {}, uint32_t required = 0) {
    Report out = allow(found);
    aegis_question *question = aegis_require_approval(&out.raw, "%.*s", int(prompt.size()), prompt.data());
    question->approvers = {static_cast<aegis_text *>(aegis_alloc(approvers.size() * sizeof(aegis_text))), approvers.size()};
    for (size_t i = 0; i < approvers.size(); i++) question->approvers.ptr[i] = copy(approvers[i]);
    question->required = required;
    return out;
  }
  // Puts `with` in the place of everything found (what overlaps is replaced together); allows where nothing was.
  static Report mask(const Findings &found, const std::string &with) {
    Report out = allow(found);
    aegis_mask(&out.raw, copy(with + '\0').ptr);
    return out;
  }
  // No verdict: why the guard could not judge.
  static Report cannot_judge(std::string_view why) {
    Report out;
    aegis_fail(&out.raw, "%.*s", int(why.size()), why.data());
    return out;
  }
  // A note for guards that run later in this run.
  Report &label(std::string_view key, std::string_view value) { aegis_add_label(&raw, copy(key), copy(value)); return *this; }
  // Comes back as `Input::memory` at later stages of this run.
  Report &remember(std::string_view memory) { aegis_remember(&raw, copy(memory)); return *this; }
  const aegis_report &contract() const { return raw; }
};

struct About {
  const char *name, *version, *description;
  std::span<const Stage> stages{}; // none: all four
  Scope scope = Scope::conversation;
};

// Between a guard's class and the C interface.
template <class Guard> struct Component {
  static Guard &guard() { static Guard it; return it; }

  static const aegis_setting *settings() {
    static std::vector<aegis_setting> list;
    Settings to(list);
    if constexpr (requires(Guard it, Settings to) { it.settings(to); }) guard().settings(to);
    list.push_back({});
    return list.data();
  }

  static void scan(const aegis_input *input, aegis_report *report) {
    *report = std::as_const(guard()).scan(Input(*input)).contract();
  }

  static const char *configured() {
    static std::string refusal;
    if constexpr (requires(Guard it) { it.configured(); }) refusal = guard().configured();
    return refusal.empty() ? nullptr : refusal.c_str();
  }

  // Asked for when the guard is configured.
  static const char *const *warm_up() {
    static std::vector<const char *> texts;
    if constexpr (requires(Guard it) { it.warm_up(); })
      for (std::string_view text : guard().warm_up()) texts.push_back(copy(std::string(text) + '\0').ptr);
    texts.push_back(nullptr);
    return texts.data();
  }

  static unsigned stages() {
    unsigned mask = 0;
    for (Stage stage : Guard::about.stages) mask |= AEGIS_AT(unsigned(stage));
    return mask;
  }
};

} // namespace aegis

// Once in a guard, at the top level.
#undef AEGIS_GUARD
#define AEGIS_GUARD(Guard)                                                                                                             \
  extern const aegis_guard aegis_this_guard = {                                                                                    \
      .name = Guard::about.name, .version = Guard::about.version, .description = Guard::about.description,                             \
      .stages = aegis::Component<Guard>::stages(), .scope = static_cast<uint8_t>(Guard::about.scope),                                  \
      .settings = aegis::Component<Guard>::settings(), .scan = aegis::Component<Guard>::scan,                                          \
      .configured = aegis::Component<Guard>::configured, .warm_up = aegis::Component<Guard>::warm_up};
