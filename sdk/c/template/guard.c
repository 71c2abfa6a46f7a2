// Asks for human review where a word of the settings is spoken of.
#include "aegis_guard.h"

static aegis_texts words;

static const aegis_setting settings[] = {
    {"words", AEGIS_TEXTS, &words, "What asks for review, in whatever case", .required = true},
    {0},
};

static void scan(const aegis_input *input, aegis_report *report) {
    for (aegis_cursor it = aegis_begin(input); aegis_next(&it);)
        aegis_find(report, &it, words);
    if (report->findings.len) aegis_require_approval(report, "A word was found: is this all right?");
}

AEGIS_GUARD(.name = "{{name}}", .version = "0.1.0", .description = "Asks for human review where a word of the settings is spoken of",
            .scope = AEGIS_MESSAGE, .settings = settings, .scan = scan)
