/* Write a guard for Aegis in C. A guard is a function of what it is handed: no files, no network, no clock, no randomness.
 *
 *     #include "aegis_guard.h"
 *
 *     static aegis_texts words;
 *
 *     static const aegis_setting settings[] = {
 *         {"words", AEGIS_TEXTS, &words, "What nobody may say", .required = true},
 *         {0},
 *     };
 *
 *     static void scan(const aegis_input *input, aegis_report *report) {
 *         for (aegis_cursor it = aegis_begin(input); aegis_next(&it);)
 *             aegis_find(report, &it, words);
 *         aegis_block_if_found(report, "a forbidden word");
 *     }
 *
 *     AEGIS_GUARD(.name = "words", .version = "0.1.0", .description = "Blocks forbidden words", .settings = settings, .scan = scan)
 *
 * What to know:
 *   - One instance, one scan: what a global holds after `configured` is there in every scan, and what a scan puts there is gone after it.
 *     What has to last until a later stage of the same run goes through `aegis_remember` and comes back as `input->memory`.
 *   - Texts are UTF-8, not terminated by a zero, and offsets count their bytes.
 *   - Nothing has to be freed. Texts handed to a report need not be copied; they have to live until the scan is over.
 *   - A guard that cannot judge calls `aegis_fail` and returns; `abort()` means the same, with less to read. Nothing passes a failed guard.
 *
 * The types below are the contract's own (aegis:guard@0.1.0), laid out as its canonical ABI has them: no bindings in between. */
#ifndef AEGIS_GUARD_H
#define AEGIS_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the contract's types ---- */

typedef struct { const char *ptr; size_t len; } aegis_text;
typedef struct { aegis_text *ptr; size_t len; } aegis_texts;
typedef struct { bool is_some; aegis_text value; } aegis_optional_text;

/* Where in the pipeline a guard is asked. */
enum { AEGIS_INGRESS, AEGIS_TOOL_RESULT, AEGIS_TOOL_CALL, AEGIS_EGRESS };
enum { AEGIS_SYSTEM, AEGIS_DEVELOPER, AEGIS_USER, AEGIS_ASSISTANT, AEGIS_TOOL };

/* `uri`: as the client wrote it; of inline data only its digest, as `sha256:<hex>`. */
typedef struct { aegis_text mime, uri; } aegis_media;

enum { AEGIS_PART_TEXT, AEGIS_PART_MEDIA, AEGIS_PART_OTHER };
typedef struct {
    uint8_t tag;
    union { aegis_text text; aegis_media media; aegis_text other; } value; /* other: anything else, as the JSON it came in */
} aegis_part;

/* `arguments` is JSON text, as the model wrote it. */
typedef struct { aegis_text id, name, arguments; } aegis_tool_call;

typedef struct {
    uint8_t role;
    struct { aegis_part *ptr; size_t len; } parts;
    aegis_optional_text name; /* the author's, where the client gave one */
    struct { aegis_tool_call *ptr; size_t len; } tool_calls;
    aegis_optional_text tool_call_id; /* of role AEGIS_TOOL: the call that this answers */
} aegis_message;

/* `parameters` is a JSON Schema. */
typedef struct { aegis_text name, description, parameters; } aegis_tool;
typedef struct { aegis_text id; aegis_texts teams, roles; } aegis_principal;
typedef struct { aegis_text key, value; } aegis_label;
typedef struct { aegis_label *ptr; size_t len; } aegis_labels;

typedef struct {
    uint8_t stage;
    aegis_text run_id, route, model;
    aegis_principal principal;
    uint64_t time;              /* when the run came to this step, in milliseconds since the Unix epoch */
    aegis_labels metadata;      /* what the client sent along */
    aegis_labels context;       /* further facts from the host; take no notice of names that you do not know */
    aegis_labels labels;        /* left by guards that ran earlier in this run */
    aegis_optional_text memory; /* what this guard handed back at an earlier stage of this run */
    struct { aegis_tool *ptr; size_t len; } tools;
    struct { aegis_message *ptr; size_t len; } messages; /* at tool-call and egress the model's reply is the last */
} aegis_input;

/* A place in the input; numbers count from 0. Of `part` and `arguments` both numbers mean something, of `tool` the first. */
enum { AEGIS_PLACE_PART, AEGIS_PLACE_ARGUMENTS, AEGIS_PLACE_TOOL };
typedef struct { uint8_t tag; uint32_t first, second; } aegis_place;

typedef struct { aegis_place at; uint32_t start, end; aegis_text text; } aegis_edit;
typedef struct { bool is_some; float value; } aegis_score;
typedef struct { aegis_text rule; aegis_place at; uint32_t start, end; aegis_score score; } aegis_finding;
typedef struct { aegis_finding *ptr; size_t len; } aegis_findings;

/* `approvers`: only these may decide (principals, `team:…`, `role:…`); none: whoever the configuration names. `required`: at least so many
 * people; 0: as many as the configuration says. */
typedef struct { aegis_text prompt; aegis_texts approvers; uint32_t required; } aegis_question;

enum { AEGIS_ALLOW, AEGIS_SANITIZE, AEGIS_BLOCK, AEGIS_REQUIRE_APPROVAL };
typedef struct {
    uint8_t tag;
    union { struct { aegis_edit *ptr; size_t len; } edits; aegis_text why; aegis_question question; } value;
} aegis_verdict;

/* All zeros: allow, nothing found. */
typedef struct {
    aegis_verdict verdict;
    aegis_findings findings;
    aegis_labels labels;
    aegis_optional_text memory;
    aegis_text failure; /* not the contract's: why the guard could not judge, see `aegis_fail` */
} aegis_report;

/* ---- a guard ---- */

/* What a setting's variable is:  AEGIS_TEXT: aegis_text.  AEGIS_TEXTS: aegis_texts, none of them empty.  AEGIS_NUMBER: double.
 * AEGIS_BOOL: bool.  AEGIS_CHOICE: int, the position among `choices`. What the variable holds at the start is the default. */
typedef enum { AEGIS_TEXT, AEGIS_TEXTS, AEGIS_NUMBER, AEGIS_BOOL, AEGIS_CHOICE } aegis_kind;

/* One setting. The JSON Schema that the host checks the configuration with is made of these; a table ends with {0}. */
typedef struct {
    const char *name;
    aegis_kind kind;
    void *to;
    const char *description;
    const char *const *choices; /* of AEGIS_CHOICE; ends with NULL */
    bool required;              /* of AEGIS_TEXTS also: one or more */
} aegis_setting;

enum { AEGIS_CONVERSATION, AEGIS_MESSAGE }; /* judges messages in the light of others; each by itself */
#define AEGIS_AT(stage) (1u << (stage))

typedef struct {
    const char *name, *version, *description;
    unsigned stages;               /* AEGIS_AT(AEGIS_INGRESS) | …; 0: all four */
    uint8_t scope;                 /* AEGIS_CONVERSATION if left out */
    const aegis_setting *settings; /* NULL: takes none */
    void (*scan)(const aegis_input *input, aegis_report *report);
    /* Once the settings are read: what is dear happens here. NULL, or why they are refused. May be left out. */
    const char *(*configured)(void);
    /* Texts like those of the traffic, ending with NULL, scanned at load so that whatever fills lazily is full when the first real text comes.
     * May be left out. */
    const char *const *(*warm_up)(void);
} aegis_guard;

/* Once in a guard, at the top level. */
#define AEGIS_GUARD(...) const aegis_guard aegis_this_guard = {__VA_ARGS__};
extern const aegis_guard aegis_this_guard;

/* ---- reading ---- */

/* Goes through the texts that the stage is about: at ingress tool descriptions and all of every message, at tool-result messages of role
 * AEGIS_TOOL, at tool-call the arguments of the reply's calls, at egress the reply's parts. */
typedef struct {
    const aegis_input *input;
    aegis_text text;
    aegis_place at;
    bool json;                    /* arguments of a call, or a part that is neither text nor media (which may not be edited) */
    const aegis_message *message; /* NULL for the description of a tool */
    size_t message_number, inner; /* where to go on */
} aegis_cursor;

aegis_cursor aegis_begin(const aegis_input *input);
bool aegis_next(aegis_cursor *it);

/* ---- texts ---- */

#define AEGIS_LITERAL(literal) ((aegis_text){(literal), sizeof(literal) - 1})
/* For %.*s: aegis_block(report, "%.*s is not allowed", AEGIS_ARG(topic)). */
#define AEGIS_ARG(text) (int)(text).len, (text).ptr

aegis_text aegis_text_of(const char *terminated);
bool aegis_equal(aegis_text a, const char *b);
/* The first place at or behind `from` where `what` stands, without regard to the case of ASCII letters; SIZE_MAX: none. */
size_t aegis_position(aegis_text in, aegis_text what, size_t from);
/* As printf, but only %s %.*s %d %u %zu %%. */
__attribute__((format(printf, 1, 2))) aegis_text aegis_format(const char *format, ...);
/* Lives until the scan is over, in `configured` for ever; is never NULL. */
void *aegis_alloc(size_t size);

/* ---- reporting; without a call the verdict is allow ---- */

/* A finding for every place where one of the phrases stands, in any case of ASCII letters; the phrase is the rule. How many. */
size_t aegis_find(aegis_report *report, const aegis_cursor *it, aegis_texts phrases);
/* One finding, at these bytes of the text. */
aegis_finding *aegis_found(aegis_report *report, const aegis_cursor *it, aegis_text rule, size_t start, size_t end);

void aegis_allow(aegis_report *report);
__attribute__((format(printf, 2, 3))) void aegis_block(aegis_report *report, const char *format, ...);
/* Blocks where anything was found. */
__attribute__((format(printf, 2, 3))) void aegis_block_if_found(aegis_report *report, const char *format, ...);
__attribute__((format(printf, 2, 3))) aegis_question *aegis_require_approval(aegis_report *report, const char *format, ...);
/* Puts `with` in the place of everything found (what overlaps is replaced together); allows where nothing was. */
void aegis_mask(aegis_report *report, const char *with);
/* One replacement by hand, at these bytes of the text. */
void aegis_edit_text(aegis_report *report, const aegis_cursor *it, size_t start, size_t end, aegis_text with);
/* A note for guards that run later in this run. */
void aegis_add_label(aegis_report *report, aegis_text key, aegis_text value);
/* Comes back as `input->memory` at later stages of this run. */
void aegis_remember(aegis_report *report, aegis_text memory);
/* No verdict: why the guard could not judge. */
__attribute__((format(printf, 2, 3))) void aegis_fail(aegis_report *report, const char *format, ...);

#ifdef __cplusplus
}
#endif
#endif
