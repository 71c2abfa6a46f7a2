// Does what the text says: each word is a way to misbehave that C++ knows.
#include "aegis_guard.hpp"
#include <cstdio>
#include <vector>

static int seen;
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
  static constexpr aegis::Stage stages[] = {aegis::Stage::ingress};
  static constexpr aegis::About about{.name = "hostile", .version = "0.0.0", .description = "Does what the text says", .stages = stages};

  aegis::Report scan(const aegis::Input &input) const {
    const aegis::Text text = input.texts()[0];
    std::string_view word = text.text();
    if (word == "spin") for (;;) depth = depth + 1;
    if (word == "allocate") for (std::vector<std::string> kept;;) kept.emplace_back(8 << 20, 'x');
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
    return aegis::Report::allow();
  }
};
AEGIS_GUARD(Hostile)
