// Does what the text says: each word is a way to misbehave that C knows, or something that the SDK offers.
#include "aegis_guard.h"
#include <stdio.h>
#include <stdlib.h>

static int seen, warmed;

static aegis_text text = {"t", 1};
static double number = 1.5;
static bool flag;
static enum { ONE, TWO } choice;
static aegis_texts list;

static const char *const choices[] = {"one", "two", NULL};
static const aegis_setting settings[] = {
    {"text", AEGIS_TEXT, &text, "A text", NULL, false},          {"number", AEGIS_NUMBER, &number, "A number", NULL, false},
    {"flag", AEGIS_BOOL, &flag, "A flag", NULL, false},          {"choice", AEGIS_CHOICE, &choice, "A choice", choices, false},
    {"list", AEGIS_TEXTS, &list, "Some texts", NULL, false}, {0},
};

static void tell_settings(aegis_report *report) {
    aegis_text joined = {"", 0};
    for (size_t i = 0; i < list.len; i++) joined = aegis_format("%.*s%.*s+", AEGIS_ARG(joined), AEGIS_ARG(list.ptr[i]));
    aegis_block(report, "%.*s %d %s %s %.*s", AEGIS_ARG(text), (int)(number * 10), flag ? "yes" : "no", choices[choice], AEGIS_ARG(joined));
}

static void mask(const aegis_input *input, aegis_report *report) {
    static aegis_text words[] = {{"secret", 6}, {"retsec", 6}};
    for (aegis_cursor it = aegis_begin(input); aegis_next(&it);) aegis_find(report, &it, (aegis_texts){words, 2});
    aegis_mask(report, "***");
}

static void ask(aegis_report *report) {
    static aegis_text approvers[] = {{"team:risk", 9}, {"role:approver", 13}};
    aegis_question *question = aegis_require_approval(report, "sure?");
    question->approvers = (aegis_texts){approvers, 2};
    question->required = 2;
}

static volatile int depth;
static int deeper(int n) {
    volatile char room[256];
    room[0] = (char)n;
    depth = n;
    return deeper(n + 1) + room[0];
}

static void allocate(void) {
    for (;;) {
        volatile char *more = malloc(16 << 20);
        if (!more) abort();
        *more = 1;
    }
}

static void scan(const aegis_input *input, aegis_report *report) {
    aegis_cursor it = aegis_begin(input);
    if (!aegis_next(&it)) return;
#define says(word) aegis_equal(it.text, word)
    mask(input, report);
    if (says("settings")) tell_settings(report);
    if (says("ask")) ask(report);
    if (says("warm")) warmed++;
    if (says("tell warmth")) aegis_block(report, "%d", warmed);
    if (says("remember")) {
        aegis_remember(report, aegis_format("%.*sx", AEGIS_ARG(input->memory.value)));
        aegis_add_label(report, AEGIS_LITERAL("seen"), AEGIS_LITERAL("yes"));
    }
    if (says("spin")) for (;;) depth++;
    if (says("allocate")) allocate();
    if (says("recurse")) depth = deeper(0);
    if (says("abort")) abort();
    if (says("exit")) exit(0);
    if (says("read what is not there")) depth = *(volatile char *)0xfffffff0;
    if (says("divide by zero")) { volatile int zero = 0; depth = 100 / zero; }
    if (says("fail")) aegis_fail(report, "it is not %s", "my day");
    if (says("print")) printf("to nobody\n"), fflush(stdout);
    if (says("read a file") && fopen("/etc/passwd", "r")) aegis_block(report, "it sees files");
    if (says("read the environment") && getenv("PATH")) aegis_block(report, "it sees the environment");
    if (says("forge a finding")) aegis_found(report, &it, AEGIS_LITERAL("rule"), 3, 1000);
    if (says("é: split a character")) aegis_edit_text(report, &it, 1, 3, AEGIS_LITERAL("x"));
    if (says("write no UTF-8")) aegis_block(report, "\xff");
    if (says("return garbage")) report->findings = (aegis_findings){(aegis_finding *)4, 1u << 30};
    if (says("keep state") && seen++) aegis_block(report, "it kept its state");
}

static const char *const *warm_up(void) {
    static const char *const texts[] = {"warm", NULL};
    return texts;
}

AEGIS_GUARD(.name = "hostile", .version = "0.0.0", .description = "Does what the text says", .settings = settings, .scan = scan, .warm_up = warm_up)
