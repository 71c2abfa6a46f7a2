// Guard "sensitive-topic": people decide, or nothing passes, when a user speaks of one of the configured phrases.
#include "aegis_guard.h"

static aegis_texts phrases;
static enum { REQUIRE_APPROVAL, BLOCK } action;

static const aegis_setting settings[] = {
    {"phrases", AEGIS_TEXTS, &phrases, "Found wherever they stand, in whatever case", .required = true},
    {"action", AEGIS_CHOICE, &action, "What follows when one is found", (const char *const[]){"require_approval", "block", NULL}},
    {0},
};

static void scan(const aegis_input *input, aegis_report *report) {
    for (aegis_cursor it = aegis_begin(input); aegis_next(&it);)
        if (it.message && it.message->role == AEGIS_USER) aegis_find(report, &it, phrases);
    if (report->findings.len == 0) return;

    aegis_text topic = aegis_format("%.*s", AEGIS_ARG(report->findings.ptr[0].rule));
    char first = topic.ptr[0];
    if (first >= 'a' && first <= 'z') first -= 'a' - 'A';
    const char *rest = topic.ptr + 1;
    int length = (int)topic.len - 1;
    if (action == BLOCK) aegis_block(report, "%.*s%.*s is not allowed", 1, &first, length, rest);
    else aegis_require_approval(report, "%.*s%.*s requires human review", 1, &first, length, rest);
}

AEGIS_GUARD(.name = "sensitive-topic", .version = "1.0.0", .description = "Asks for human review of sensitive topics",
            .stages = AEGIS_AT(AEGIS_INGRESS), .scope = AEGIS_MESSAGE, .settings = settings, .scan = scan)
