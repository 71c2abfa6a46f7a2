/* Between the exports of a component and an aegis_guard. Nothing is handed back that the host would have to free. */
#include "aegis_guard.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT(name) __attribute__((export_name(name)))
#define SCANNER "aegis:guard/scanner@0.1.0#"

/* A layout that is not the contract's would be read wrongly without a word. */
_Static_assert(sizeof(aegis_part) == 20 && sizeof(aegis_message) == 44 && sizeof(aegis_tool) == 24, "aegis_message");
_Static_assert(sizeof(aegis_input) == 120 && offsetof(aegis_input, time) == 56 && offsetof(aegis_input, messages) == 108, "aegis_input");
_Static_assert(sizeof(aegis_place) == 12 && sizeof(aegis_edit) == 28 && sizeof(aegis_finding) == 36, "aegis_finding");
_Static_assert(sizeof(aegis_verdict) == 24 && offsetof(aegis_report, failure) == 52, "aegis_report");

/* ---- memory: given out, never taken back but all at once ---- */

typedef struct chunk { struct chunk *before; size_t used, size; } chunk;
static chunk *newest;      /* where the next byte comes from */
static chunk *kept;        /* as it was when the guard was configured: */
static size_t kept_used;   /* all behind it belongs to one scan */
static bool spent;         /* the scan is over; its memory goes when the host comes back */

static void *aligned_alloc_in_arena(size_t align, size_t size) {
    if (newest) {
        size_t at = (newest->used + align - 1) & ~(align - 1);
        if (at <= newest->size && size <= newest->size - at) {
            newest->used = at + size;
            return (char *)newest + at;
        }
    }
    enum { CHUNK = 16 << 10, HEAD = 16 };
    if (size > PTRDIFF_MAX - CHUNK) abort();
    chunk *more = malloc(size + HEAD > CHUNK ? size + HEAD : CHUNK);
    if (!more) abort();
    *more = (chunk){newest, HEAD + size, size + HEAD > CHUNK ? size + HEAD : CHUNK};
    newest = more;
    return (char *)more + HEAD;
}

static void keep(void) {
    kept = newest;
    kept_used = newest ? newest->used : 0;
}

static void forget(void) {
    while (newest != kept) {
        chunk *before = newest->before;
        free(newest);
        newest = before;
    }
    if (newest) newest->used = kept_used;
    spent = false;
}

void *aegis_alloc(size_t size) { return aligned_alloc_in_arena(8, size); }

/* The host's door for texts and lists that it hands over. */
EXPORT("cabi_realloc") void *aegis_cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
    if (spent) forget();
    void *fresh = aligned_alloc_in_arena(align, size);
    if (old_size) memcpy(fresh, old, old_size < size ? old_size : size);
    return fresh;
}

/* Room for one more in a list that is full at every power of two. */
static void *grown(void *items, size_t len, size_t size) {
    if (len & (len - 1)) return items;
    void *fresh = aegis_alloc((len ? len * 2 : 1) * size);
    if (len) memcpy(fresh, items, len * size);
    return fresh;
}

#define PUSH(list, ...)                                                        \
    do {                                                                       \
        (list)->ptr = grown((list)->ptr, (list)->len, sizeof *(list)->ptr);     \
        (list)->ptr[(list)->len++] = (__VA_ARGS__);                            \
    } while (0)

/* ---- texts ---- */

aegis_text aegis_text_of(const char *terminated) { return (aegis_text){terminated, terminated ? strlen(terminated) : 0}; }

bool aegis_equal(aegis_text a, const char *b) { return a.len == strlen(b) && memcmp(a.ptr, b, a.len) == 0; }

static char lower(char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; }
static char upper(char c) { return c >= 'a' && c <= 'z' ? c - 32 : c; }

size_t aegis_position(aegis_text in, aegis_text what, size_t from) {
    if (what.len == 0 || what.len > in.len) return SIZE_MAX;
    char small = lower(what.ptr[0]), capital = upper(what.ptr[0]);
    for (size_t at = from; at <= in.len - what.len; at++) {
        if (in.ptr[at] != small && in.ptr[at] != capital) continue;
        size_t same = 1;
        while (same < what.len && lower(in.ptr[at + same]) == lower(what.ptr[same])) same++;
        if (same == what.len) return at;
    }
    return SIZE_MAX;
}

/* A text that is being written. */
typedef struct { char *ptr; size_t len, room; } draft;

static void put(draft *to, const char *from, size_t len) {
    if (to->room - to->len < len) {
        size_t room = (to->len + len) * 2;
        char *fresh = aegis_alloc(room);
        if (to->len) memcpy(fresh, to->ptr, to->len);
        to->ptr = fresh;
        to->room = room;
    }
    if (len) memcpy(to->ptr + to->len, from, len);
    to->len += len;
}

static void put_terminated(draft *to, const char *from) { put(to, from, strlen(from)); }

static void put_number(draft *to, uint64_t magnitude, bool negative) {
    char digits[21], *at = digits + sizeof digits;
    do *--at = '0' + magnitude % 10; while (magnitude /= 10);
    if (negative) *--at = '-';
    put(to, at, digits + sizeof digits - at);
}

static aegis_text format_list(const char *format, va_list args) {
    draft out = {0};
    for (const char *percent; (percent = strchr(format, '%')); ) {
        put(&out, format, percent - format);
        format = percent + 1;
        if (*format == '%') put(&out, format, 1);
        else if (*format == 's') put_terminated(&out, va_arg(args, const char *));
        else if (*format == 'd') { int it = va_arg(args, int); put_number(&out, it < 0 ? -(int64_t)it : it, it < 0); }
        else if (*format == 'u') put_number(&out, va_arg(args, unsigned), false);
        else if (!strncmp(format, "zu", 2)) { put_number(&out, va_arg(args, size_t), false); format++; }
        else if (!strncmp(format, ".*s", 3)) { int len = va_arg(args, int); put(&out, va_arg(args, const char *), len); format += 2; }
        else abort();
        format++;
    }
    put_terminated(&out, format);
    return (aegis_text){out.ptr, out.len};
}

#define FORMATTED(text)                 \
    aegis_text text;                    \
    do {                                \
        va_list args;                   \
        va_start(args, format);         \
        text = format_list(format, args); \
        va_end(args);                   \
    } while (0)

aegis_text aegis_format(const char *format, ...) {
    FORMATTED(text);
    return text;
}

/* ---- the texts of a stage ---- */

aegis_cursor aegis_begin(const aegis_input *input) {
    bool replies = input->stage == AEGIS_TOOL_CALL || input->stage == AEGIS_EGRESS;
    return (aegis_cursor){.input = input, .at = {AEGIS_PLACE_TOOL, 0, 0},
                          .message_number = replies && input->messages.len ? input->messages.len - 1 : 0};
}

static bool next_tool(aegis_cursor *it) {
    if (it->input->stage != AEGIS_INGRESS || it->inner == it->input->tools.len) return false;
    it->at = (aegis_place){AEGIS_PLACE_TOOL, it->inner, 0};
    it->text = it->input->tools.ptr[it->inner++].description;
    return true;
}

static bool next_part(aegis_cursor *it) {
    if (it->input->stage == AEGIS_TOOL_CALL) return false;
    while (it->inner < it->message->parts.len) {
        const aegis_part *part = &it->message->parts.ptr[it->inner++];
        if (part->tag == AEGIS_PART_MEDIA) continue;
        it->at = (aegis_place){AEGIS_PLACE_PART, it->message_number, it->inner - 1};
        it->json = part->tag == AEGIS_PART_OTHER;
        it->text = part->value.text;
        return true;
    }
    return false;
}

static bool next_arguments(aegis_cursor *it) {
    bool asked = it->input->stage == AEGIS_INGRESS || it->input->stage == AEGIS_TOOL_CALL;
    if (!asked || it->inner == it->message->tool_calls.len) return false;
    it->at = (aegis_place){AEGIS_PLACE_ARGUMENTS, it->message_number, it->inner};
    it->json = true;
    it->text = it->message->tool_calls.ptr[it->inner++].arguments;
    return true;
}

bool aegis_next(aegis_cursor *it) {
    if (it->at.tag == AEGIS_PLACE_TOOL) {
        if (next_tool(it)) return true;
        it->inner = 0;
    }
    for (; it->message_number < it->input->messages.len; it->message_number++, it->message = NULL) {
        if (!it->message) {
            it->message = &it->input->messages.ptr[it->message_number];
            it->at.tag = AEGIS_PLACE_PART;
            it->inner = 0;
        }
        if (it->input->stage == AEGIS_TOOL_RESULT && it->message->role != AEGIS_TOOL) continue;
        if (it->at.tag == AEGIS_PLACE_PART) {
            if (next_part(it)) return true;
            it->at.tag = AEGIS_PLACE_ARGUMENTS;
            it->inner = 0;
        }
        if (next_arguments(it)) return true;
    }
    return false;
}

/* ---- reporting ---- */

aegis_finding *aegis_found(aegis_report *report, const aegis_cursor *it, aegis_text rule, size_t start, size_t end) {
    PUSH(&report->findings, (aegis_finding){.rule = rule, .at = it->at, .start = start, .end = end});
    return &report->findings.ptr[report->findings.len - 1];
}

size_t aegis_find(aegis_report *report, const aegis_cursor *it, aegis_texts phrases) {
    size_t before = report->findings.len;
    for (size_t k = 0; k < phrases.len; k++) {
        aegis_text phrase = phrases.ptr[k];
        for (size_t at = 0; (at = aegis_position(it->text, phrase, at)) != SIZE_MAX; at += phrase.len)
            aegis_found(report, it, phrase, at, at + phrase.len);
    }
    return report->findings.len - before;
}

void aegis_allow(aegis_report *report) { memset(&report->verdict, 0, sizeof report->verdict); }

static void block(aegis_report *report, aegis_text why) {
    aegis_allow(report);
    report->verdict.tag = AEGIS_BLOCK;
    report->verdict.value.why = why;
}

void aegis_block(aegis_report *report, const char *format, ...) {
    FORMATTED(why);
    block(report, why);
}

void aegis_block_if_found(aegis_report *report, const char *format, ...) {
    FORMATTED(why);
    if (report->findings.len) block(report, why);
}

aegis_question *aegis_require_approval(aegis_report *report, const char *format, ...) {
    FORMATTED(prompt);
    aegis_allow(report);
    report->verdict.tag = AEGIS_REQUIRE_APPROVAL;
    report->verdict.value.question.prompt = prompt;
    return &report->verdict.value.question;
}

static void add_edit(aegis_report *report, aegis_edit edit) {
    if (report->verdict.tag != AEGIS_SANITIZE) {
        aegis_allow(report);
        report->verdict.tag = AEGIS_SANITIZE;
    }
    PUSH(&report->verdict.value.edits, edit);
}

void aegis_edit_text(aegis_report *report, const aegis_cursor *it, size_t start, size_t end, aegis_text with) {
    add_edit(report, (aegis_edit){it->at, start, end, with});
}

static int by_place(const void *left, const void *right) {
    const aegis_finding *a = left, *b = right;
    if (a->at.tag != b->at.tag) return a->at.tag < b->at.tag ? -1 : 1;
    if (a->at.first != b->at.first) return a->at.first < b->at.first ? -1 : 1;
    if (a->at.second != b->at.second) return a->at.second < b->at.second ? -1 : 1;
    return (a->start > b->start) - (a->start < b->start);
}

static bool same_place(aegis_place a, aegis_place b) { return a.tag == b.tag && a.first == b.first && a.second == b.second; }

void aegis_mask(aegis_report *report, const char *with) {
    aegis_allow(report);
    size_t count = report->findings.len;
    if (!count) return;
    aegis_finding *sorted = aegis_alloc(count * sizeof *sorted);
    memcpy(sorted, report->findings.ptr, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_place);
    aegis_edit *last = NULL;
    for (aegis_finding *it = sorted; it < sorted + count; it++) {
        if (last && same_place(last->at, it->at) && it->start < last->end) {
            if (it->end > last->end) last->end = it->end;
            continue;
        }
        add_edit(report, (aegis_edit){it->at, it->start, it->end, aegis_text_of(with)});
        last = &report->verdict.value.edits.ptr[report->verdict.value.edits.len - 1];
    }
}

void aegis_add_label(aegis_report *report, aegis_text key, aegis_text value) { PUSH(&report->labels, (aegis_label){key, value}); }

void aegis_remember(aegis_report *report, aegis_text memory) { report->memory = (aegis_optional_text){true, memory}; }

void aegis_fail(aegis_report *report, const char *format, ...) {
    FORMATTED(why);
    report->failure = why.len ? why : AEGIS_LITERAL("the guard failed without a reason");
}

/* ---- settings: as much JSON as an object of these kinds needs ---- */

typedef struct { const char *at, *end; } json;

static int peek(json *in) {
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\n' || *in->at == '\t' || *in->at == '\r')) in->at++;
    return in->at < in->end ? (unsigned char)*in->at : -1;
}

static bool take(json *in, int wanted) {
    if (peek(in) != wanted) return false;
    in->at++;
    return true;
}

static bool take_word(json *in, const char *word) {
    size_t len = strlen(word);
    peek(in);
    if ((size_t)(in->end - in->at) < len || memcmp(in->at, word, len)) return false;
    in->at += len;
    return true;
}

static int32_t take_hex4(json *in) {
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char digit = in->at < in->end ? lower(*in->at++) : 0;
        if (digit >= '0' && digit <= '9') value = value * 16 + digit - '0';
        else if (digit >= 'a' && digit <= 'f') value = value * 16 + digit - 'a' + 10;
        else return -1;
    }
    return value;
}

static char *put_utf8(char *to, uint32_t c) {
    if (c < 0x80) { *to++ = c; return to; }
    if (c < 0x800) *to++ = 0xC0 | c >> 6;
    else {
        if (c < 0x10000) *to++ = 0xE0 | c >> 12;
        else { *to++ = 0xF0 | c >> 18; *to++ = 0x80 | (c >> 12 & 63); }
        *to++ = 0x80 | (c >> 6 & 63);
    }
    *to++ = 0x80 | (c & 63);
    return to;
}

/* What stands behind \u; -1 is no character. */
static int32_t take_escaped(json *in) {
    int32_t high = take_hex4(in);
    if (high < 0xD800 || high > 0xDFFF) return high;
    if (high > 0xDBFF || in->end - in->at < 2 || in->at[0] != '\\' || in->at[1] != 'u') return -1;
    in->at += 2;
    int32_t low = take_hex4(in);
    return low < 0xDC00 || low > 0xDFFF ? -1 : 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
}

static bool take_text(json *in, aegis_text *out) {
    static const char written[] = "bfnrt\"\\/", meant[] = "\b\f\n\r\t\"\\/";
    if (!take(in, '"')) return false;
    char *to = aegis_alloc(in->end - in->at + 1); /* what is meant is never longer than what is written */
    out->ptr = to;
    while (in->at < in->end && *in->at != '"') {
        char c = *in->at++;
        if ((unsigned char)c < 0x20) return false;
        if (c != '\\') { *to++ = c; continue; }
        if (in->at == in->end) return false;
        char kind = *in->at++;
        const char *simple = kind ? strchr(written, kind) : NULL;
        if (simple) { *to++ = meant[simple - written]; continue; }
        int32_t escaped = kind == 'u' ? take_escaped(in) : -1;
        if (escaped < 0) return false;
        to = put_utf8(to, escaped);
    }
    out->len = to - out->ptr;
    return take(in, '"');
}

static bool take_texts(json *in, aegis_texts *out, bool some) {
    *out = (aegis_texts){0};
    if (!take(in, '[')) return false;
    if (take(in, ']')) return !some;
    do {
        aegis_text item;
        if (!take_text(in, &item) || !item.len) return false;
        PUSH(out, item);
    } while (take(in, ','));
    return take(in, ']');
}

static bool take_digits(json *in, double *value, int *count) {
    const char *from = in->at;
    for (; in->at < in->end && *in->at >= '0' && *in->at <= '9'; in->at++) *value = *value * 10 + (*in->at - '0');
    *count = in->at - from;
    return *count > 0;
}

static bool take_number(json *in, double *out) {
    bool negative = take(in, '-');
    double value = 0, power = 0;
    int digits, shift = 0;
    peek(in);
    if (!take_digits(in, &value, &digits)) return false;
    if (in->at < in->end && *in->at == '.') {
        in->at++;
        if (!take_digits(in, &value, &digits)) return false;
        shift = -digits;
    }
    if (in->at < in->end && lower(*in->at) == 'e') {
        in->at++;
        bool down = in->at < in->end && *in->at == '-';
        if (in->at < in->end && (*in->at == '-' || *in->at == '+')) in->at++;
        if (!take_digits(in, &power, &digits) || power > 400) return false;
        shift += down ? -(int)power : (int)power;
    }
    for (; shift > 0; shift--) value *= 10;
    for (; shift < 0; shift++) value /= 10;
    *out = negative ? -value : value;
    return true;
}

static bool take_choice(json *in, const aegis_setting *setting) {
    aegis_text given;
    if (!take_text(in, &given)) return false;
    for (int i = 0; setting->choices[i]; i++)
        if (aegis_equal(given, setting->choices[i])) {
            *(int *)setting->to = i;
            return true;
        }
    return false;
}

static bool take_bool(json *in, bool *out) {
    *out = take_word(in, "true");
    return *out || take_word(in, "false");
}

static bool take_value(json *in, const aegis_setting *setting) {
    switch (setting->kind) {
        case AEGIS_TEXT: return take_text(in, setting->to);
        case AEGIS_TEXTS: return take_texts(in, setting->to, setting->required);
        case AEGIS_NUMBER: return take_number(in, setting->to);
        case AEGIS_BOOL: return take_bool(in, setting->to);
        case AEGIS_CHOICE: return take_choice(in, setting);
    }
    return false;
}

static size_t settings_count(void) {
    size_t count = 0;
    for (const aegis_setting *it = aegis_this_guard.settings; it && it->name; it++) count++;
    return count;
}

static aegis_text choices_of(const aegis_setting *setting) {
    draft out = {0};
    for (int i = 0; setting->choices[i]; i++) {
        if (i) put_terminated(&out, setting->choices[i + 1] ? ", " : " or ");
        put_terminated(&out, setting->choices[i]);
    }
    return (aegis_text){out.ptr, out.len};
}

static aegis_text expected(const aegis_setting *setting) {
    switch (setting->kind) {
        case AEGIS_TEXT: return aegis_format("%s: expected a text", setting->name);
        case AEGIS_TEXTS: return aegis_format("%s: expected a list of %stexts that are not empty", setting->name, setting->required ? "one or more " : "");
        case AEGIS_NUMBER: return aegis_format("%s: expected a number", setting->name);
        case AEGIS_BOOL: return aegis_format("%s: expected true or false", setting->name);
        case AEGIS_CHOICE: return aegis_format("%s: expected %.*s", setting->name, AEGIS_ARG(choices_of(setting)));
    }
    return aegis_text_of(setting->name);
}

static aegis_text unknown(aegis_text name) {
    if (!settings_count()) return aegis_format("unknown setting \"%.*s\": this guard takes none", AEGIS_ARG(name));
    draft known = {0};
    for (const aegis_setting *it = aegis_this_guard.settings; it->name; it++) {
        if (known.len) put_terminated(&known, ", ");
        put_terminated(&known, it->name);
    }
    return aegis_format("unknown setting \"%.*s\"; known are: %.*s", AEGIS_ARG(name), (int)known.len, known.ptr);
}

/* Reads one `"name": value`; an empty text: no mistake. */
static aegis_text take_setting(json *in, bool *seen) {
    aegis_text name;
    if (!take_text(in, &name) || !take(in, ':')) return AEGIS_LITERAL("settings: expected a JSON object");
    for (size_t k = 0; k < settings_count(); k++) {
        const aegis_setting *setting = &aegis_this_guard.settings[k];
        if (!aegis_equal(name, setting->name)) continue;
        seen[k] = true;
        return take_value(in, setting) ? (aegis_text){0} : expected(setting);
    }
    return unknown(name);
}

static aegis_text read_settings(json in) {
    bool *seen = memset(aegis_alloc(settings_count() + 1), 0, settings_count() + 1);
    static const char nothing[] = "{}";
    if (peek(&in) == -1) in = (json){nothing, &nothing[2]}; /* no text at all */
    if (!take(&in, '{')) return AEGIS_LITERAL("settings: expected a JSON object");
    if (!take(&in, '}')) {
        do {
            aegis_text mistake = take_setting(&in, seen);
            if (mistake.len) return mistake;
        } while (take(&in, ','));
        if (!take(&in, '}')) return AEGIS_LITERAL("settings: expected a JSON object");
    }
    if (peek(&in) != -1) return AEGIS_LITERAL("settings: expected one JSON object and nothing behind it");
    for (size_t k = 0; k < settings_count(); k++)
        if (aegis_this_guard.settings[k].required && !seen[k]) return aegis_format("%s: is missing", aegis_this_guard.settings[k].name);
    return (aegis_text){0};
}

/* ---- the schema of the settings ---- */

static void put_json(draft *to, aegis_text text) {
    static const char hex[] = "0123456789abcdef";
    put(to, "\"", 1);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = text.ptr[i];
        if (c < 0x20) { char escape[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}; put(to, escape, sizeof escape); continue; }
        if (c == '"' || c == '\\') put(to, "\\", 1);
        put(to, &text.ptr[i], 1);
    }
    put(to, "\"", 1);
}

static void put_kind(draft *to, const aegis_setting *setting) {
    switch (setting->kind) {
        case AEGIS_TEXT: put_terminated(to, "\"type\":\"string\""); return;
        case AEGIS_NUMBER: put_terminated(to, "\"type\":\"number\""); return;
        case AEGIS_BOOL: put_terminated(to, "\"type\":\"boolean\""); return;
        case AEGIS_TEXTS:
            put_terminated(to, "\"type\":\"array\",\"items\":{\"type\":\"string\",\"minLength\":1}");
            if (setting->required) put_terminated(to, ",\"minItems\":1");
            return;
        case AEGIS_CHOICE:
            put_terminated(to, "\"enum\":[");
            for (int i = 0; setting->choices[i]; i++) {
                if (i) put_terminated(to, ",");
                put_json(to, aegis_text_of(setting->choices[i]));
            }
            put_terminated(to, "]");
    }
}

static void put_default(draft *to, const aegis_setting *setting) {
    if (setting->kind == AEGIS_CHOICE) {
        put_terminated(to, ",\"default\":");
        put_json(to, aegis_text_of(setting->choices[*(const int *)setting->to]));
    } else if (setting->kind == AEGIS_BOOL) {
        put_terminated(to, *(const bool *)setting->to ? ",\"default\":true" : ",\"default\":false");
    } else if (setting->kind == AEGIS_TEXT && ((const aegis_text *)setting->to)->len) {
        put_terminated(to, ",\"default\":");
        put_json(to, *(const aegis_text *)setting->to);
    }
}

static aegis_text schema(void) {
    if (!settings_count()) return (aegis_text){0};
    draft out = {0}, required = {0};
    put_terminated(&out, "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{");
    for (const aegis_setting *it = aegis_this_guard.settings; it->name; it++) {
        if (it != aegis_this_guard.settings) put_terminated(&out, ",");
        put_json(&out, aegis_text_of(it->name));
        put_terminated(&out, ":{");
        if (it->description) {
            put_terminated(&out, "\"description\":");
            put_json(&out, aegis_text_of(it->description));
            put_terminated(&out, ",");
        }
        put_kind(&out, it);
        if (!it->required) put_default(&out, it);
        put_terminated(&out, "}");
        if (!it->required) continue;
        if (required.len) put_terminated(&required, ",");
        put_json(&required, aegis_text_of(it->name));
    }
    put_terminated(&out, "},\"required\":[");
    put(&out, required.ptr, required.len);
    put_terminated(&out, "]}");
    return (aegis_text){out.ptr, out.len};
}

/* ---- the exports ---- */

typedef struct {
    aegis_text name, version, description;
    struct { uint8_t *ptr; size_t len; } stages;
    uint8_t streaming, scope;
    aegis_text settings_schema;
    aegis_labels notes;
} manifest;
_Static_assert(sizeof(manifest) == 52 && offsetof(manifest, settings_schema) == 36, "manifest");

static unsigned stages(void) { return aegis_this_guard.stages ? aegis_this_guard.stages : 15; }

EXPORT(SCANNER "describe") manifest *aegis_describe(void) {
    static manifest out;
    static uint8_t at[4];
    if (spent) forget();
    out = (manifest){.name = aegis_text_of(aegis_this_guard.name), .version = aegis_text_of(aegis_this_guard.version),
                     .description = aegis_text_of(aegis_this_guard.description), .stages = {at, 0},
                     .scope = aegis_this_guard.scope == AEGIS_CONVERSATION, .settings_schema = schema()};
    for (uint8_t stage = AEGIS_INGRESS; stage <= AEGIS_EGRESS; stage++)
        if (stages() & AEGIS_AT(stage)) at[out.stages.len++] = stage;
    return &out;
}

static aegis_text scan(const aegis_input *input, aegis_report *report) {
    *report = (aegis_report){0};
    aegis_this_guard.scan(input, report);
    return report->failure;
}

/* Judges one text at every stage; why that cannot be done. */
static aegis_text warm_up(const char *text) {
    for (uint8_t stage = AEGIS_INGRESS; stage <= AEGIS_EGRESS; stage++) {
        if (!(stages() & AEGIS_AT(stage))) continue;
        aegis_part part = {.tag = AEGIS_PART_TEXT, .value.text = aegis_text_of(text)};
        aegis_tool_call call = {AEGIS_LITERAL("call-1"), AEGIS_LITERAL("tool"), aegis_text_of(text)};
        aegis_message message = {.role = stage == AEGIS_INGRESS ? AEGIS_USER : stage == AEGIS_TOOL_RESULT ? AEGIS_TOOL : AEGIS_ASSISTANT};
        if (stage == AEGIS_TOOL_CALL) { message.tool_calls.ptr = &call; message.tool_calls.len = 1; }
        else { message.parts.ptr = &part; message.parts.len = 1; }
        aegis_input input = {.stage = stage, .messages = {&message, 1}};
        aegis_report report;
        aegis_text failure = scan(&input, &report);
        if (failure.len) return aegis_format("warm-up: %.*s", AEGIS_ARG(failure));
    }
    return (aegis_text){0};
}

static bool configured;

static aegis_text configure(json settings) {
    if (configured) return AEGIS_LITERAL("configured twice");
    aegis_text mistake = read_settings(settings);
    if (mistake.len) return mistake;
    const char *refusal = aegis_this_guard.configured ? aegis_this_guard.configured() : NULL;
    if (refusal) return aegis_text_of(refusal);
    const char *const *samples = aegis_this_guard.warm_up ? aegis_this_guard.warm_up() : NULL;
    keep();
    for (const char *const *it = samples; it && *it; it++)
        if ((mistake = warm_up(*it)).len) return mistake;
    configured = true;
    return (aegis_text){0};
}

typedef struct { uint8_t is_error; aegis_text error; } configure_result;

EXPORT(SCANNER "configure") configure_result *aegis_configure(const char *settings, size_t len) {
    static configure_result out;
    out.error = configure((json){settings, settings + len});
    out.is_error = out.error.len > 0;
    spent = configured;
    return &out;
}

typedef struct {
    uint8_t is_error;
    union { struct { aegis_verdict verdict; aegis_findings findings; aegis_labels labels; aegis_optional_text memory; } report; aegis_text error; } value;
} scan_result;
_Static_assert(sizeof(scan_result) == 56, "scan_result");

EXPORT(SCANNER "scan") scan_result *aegis_scan(const aegis_input *input) {
    static scan_result out;
    aegis_report report = {0};
    aegis_text failure = configured ? scan(input, &report) : AEGIS_LITERAL("not configured");
    memset(&out, 0, sizeof out);
    out.is_error = failure.len > 0;
    if (out.is_error) out.value.error = failure;
    else memcpy(&out.value.report, &report, sizeof out.value.report);
    spent = true;
    return &out;
}
