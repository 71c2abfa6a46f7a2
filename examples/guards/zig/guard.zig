//! Guard "sensitive-topic": people decide, or nothing passes, when a user speaks of one of the configured phrases.

const std = @import("std");
const aegis = @import("aegis_guard");

pub const Settings = struct {
    phrases: []const []const u8,
    action: enum { require_approval, block } = .require_approval,

    pub const descriptions = .{
        .phrases = "Found wherever they stand, in whatever case",
        .action = "What follows when one is found",
    };
};

pub fn scan(settings: Settings, input: aegis.Input) !aegis.Report {
    var found: std.ArrayList(aegis.Finding) = .empty;
    var texts = input.texts();
    while (texts.next()) |text| {
        const message = text.message orelse continue;
        if (message.role == .user) try aegis.find(&found, text, settings.phrases);
    }
    if (found.items.len == 0) return aegis.allow();

    const rule = found.items[0].rule.items();
    const first = std.ascii.toUpper(rule[0]);
    return switch (settings.action) {
        .block => aegis.block(try aegis.format("{c}{s} is not allowed", .{ first, rule[1..] }), found.items),
        .require_approval => aegis.requireApproval(try aegis.format("{c}{s} requires human review", .{ first, rule[1..] }), found.items),
    };
}

comptime {
    aegis.guard(@This(), .{
        .name = "sensitive-topic",
        .version = "1.0.0",
        .description = "Asks for human review of sensitive topics",
        .stages = &.{.ingress},
        .scope = .message,
    });
}
