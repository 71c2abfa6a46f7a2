// Does what the text says: each word is a way to misbehave that C knows.
#include "aegis_guard.h"
#include <stdio.h>
#include <stdlib.h>

static int seen;

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

static bool says(const aegis_input *input, const char *word) {
    return aegis_equal(input->messages.ptr[0].parts.ptr[0].value.text, word);
}

static void scan(const aegis_input *input, aegis_report *report) {
    aegis_cursor it = aegis_begin(input);
    aegis_next(&it);
    if (says(input, "spin")) for (;;) depth++;
    if (says(input, "allocate")) allocate();
    if (says(input, "recurse")) depth = deeper(0);
    if (says(input, "abort")) abort();
    if (says(input, "exit")) exit(0);
    if (says(input, "read what is not there")) depth = *(volatile char *)0xfffffff0;
    if (says(input, "divide by zero")) { volatile int zero = 0; depth = 100 / zero; }
    if (says(input, "fail")) aegis_fail(report, "it is not %s", "my day");
    if (says(input, "print")) printf("to nobody\n"), fflush(stdout);
    if (says(input, "read a file") && fopen("/etc/passwd", "r")) aegis_block(report, "it sees files");
    if (says(input, "read the environment") && getenv("PATH")) aegis_block(report, "it sees the environment");
    if (says(input, "forge a finding")) aegis_found(report, &it, AEGIS_LITERAL("rule"), 3, 1000);
    if (says(input, "é: split a character")) aegis_edit_text(report, &it, 1, 3, AEGIS_LITERAL("x"));
    if (says(input, "write no UTF-8")) aegis_block(report, "\xff");
    if (says(input, "return garbage")) report->findings = (aegis_findings){(aegis_finding *)4, 1u << 30};
    if (says(input, "keep state") && seen++) aegis_block(report, "it kept its state");
}

AEGIS_GUARD(.name = "hostile", .version = "0.0.0", .description = "Does what the text says", .stages = AEGIS_AT(AEGIS_INGRESS), .scan = scan)
