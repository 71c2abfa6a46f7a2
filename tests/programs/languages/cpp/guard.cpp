// Does what the text says: each word is a way to misbehave that C++ knows, or something that the SDK
// offers.
#include "aegis_guard.hpp"
#include <cstdio>
#include <vector>

static int seen, warmed;
static volatile int depth;

static int deeper(int n) {
  volatile char room[256];
  room[0] = char(n);
  depth = n;
  return deeper(n + 1) + room[0];
}

struct Virtual {
  virtual void call() = 0;
};

struct Hostile {
  static constexpr aegis::About about{.name = "hostile", .version = "0.0.0", .description = "Does what the text says"};
  enum Choice { one, two };
  aegis_text text{"t", 1};
  double number = 1.5;
  bool flag = false;
  Choice choice = one;
  aegis::Texts list;

  void settings(aegis::Settings &from) {
    from.optional("text", text, "A text");
    from.optional("number", number, "A number");
    from.optional("flag", flag, "A flag");
    from.choice("choice", choice, {"one", "two"}, "A choice");
    from.optional("list", list, "Some texts");
  }

  std::vector<std::string_view> warm_up() { return {"warm"}; }

  aegis::Report tell_settings() const {
    std::string told(aegis::view(text));
    told += ' ' + std::to_string(int(number * 10)) + (flag ? " yes " : " no ") + (choice == one ? "one " : "two ");
    for (std::string_view item : list) told.append(item).append("+");
    return aegis::Report::block(told);
  }


  aegis::Report scan(const aegis::Input &input) const {
    if (input.texts().empty()) return aegis::Report::allow();
    const aegis::Text text = input.texts()[0];
    std::string_view word = text.text();
    if (word == "settings") return tell_settings();
    if (word == "warm") warmed++;
    if (word == "tell warmth") return aegis::Report::block(std::to_string(warmed));
    if (word == "ask") return aegis::Report::require_approval("sure?", {}, {"team:risk", "role:approver"}, 2);
    if (word == "remember") {
      std::string memory(input.memory().value_or(""));
      return aegis::Report::allow().remember(memory + "x").label("seen", "yes");
    }
    if (word == "spin") for (;;) depth = depth + 1;
    if (word == "allocate") for (std::vector<volatile char *> kept;;) kept.push_back(new char[16 << 20]), *kept.back() = 1;
    if (word == "recurse") depth = deeper(0);
    if (word == "abort") std::abort();
    if (word == "exit") std::exit(0);
    if (word == "index behind the end") { std::vector<int> none; depth = none.at(depth + 7); }
    if (word == "call nothing") { volatile auto nothing = reinterpret_cast<Virtual *>(depth); nothing->call(); }
    if (word == "fail") return aegis::Report::cannot_judge("it is not my day");
    if (word == "print") puts("to nobody"), fflush(stdout);
    if (word == "read a file" && fopen("/etc/passwd", "r")) return aegis::Report::block("it sees files");
    if (word == "read the environment" && getenv("PATH")) return aegis::Report::block("it sees the environment");
    if (word == "forge a finding") return aegis::Report::block("x", {text.finding("rule", 3, 1000)});
    if (word == "keep state" && seen++) return aegis::Report::block("it kept its state");
    return aegis::Report::mask(input.find(std::vector<std::string>{"secret", "retsec"}), "***");
  }
};
AEGIS_GUARD(Hostile)
