//! Asks for human review where a word of the settings is spoken of.

const aegis = @import("aegis_guard");

pub const Settings = struct {
    words: []const []const u8,

    pub const descriptions = .{ .words = "What asks for review, in whatever case" };
};

pub fn scan(settings: Settings, input: aegis.Input) !aegis.Report {
    const found = try aegis.findAll(input, settings.words);
    if (found.len == 0) return aegis.allow();
    return aegis.requireApproval("A word was found: is this all right?", found);
}

comptime {
    aegis.guard(@This(), .{
        .name = "{{name}}",
        .version = "0.1.0",
        .description = "Asks for human review where a word of the settings is spoken of",
        .scope = .message,
    });
}
