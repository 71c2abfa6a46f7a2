//! Does what the text says: each word is a way to misbehave that Zig knows.

const std = @import("std");
const aegis = @import("aegis_guard");

var seen: u32 = 0;
var depth: u32 = 0;

fn deeper(n: u32) u32 {
    var room: [256]u8 = undefined;
    @as(*volatile u8, &room[n % 256]).* = @truncate(n);
    @as(*volatile u32, &depth).* = n;
    return @call(.never_inline, deeper, .{n +% 1}) +% @as(*volatile u8, &room[n % 256]).*;
}

fn allocate() !void {
    while (true) {
        const more = try aegis.memory.alloc(u8, 16 << 20);
        @as(*volatile u8, &more[0]).* = 1;
    }
}

pub fn scan(input: aegis.Input) !aegis.Report {
    var texts = input.texts();
    const text = texts.next() orelse return aegis.allow();
    const Deed = enum { spin, allocate, recurse, panic, @"index behind the end", overflow, @"unreachable", fail, @"forge a finding", @"keep state" };
    const zero: u32 = @as(*volatile u32, &depth).*;
    switch (std.meta.stringToEnum(Deed, text.text) orelse return aegis.allow()) {
        .spin => while (true) {
            @as(*volatile u32, &depth).* +%= 1;
        },
        .allocate => try allocate(),
        .recurse => _ = deeper(zero),
        .panic => @panic("it is not my day"),
        .@"index behind the end" => _ = aegis.format("{c}", .{text.text[zero + 1000]}) catch "",
        .overflow => _ = try aegis.format("{d}", .{zero - 1}),
        .@"unreachable" => if (zero == 0) unreachable,
        .fail => return error.NotMyDay,
        .@"forge a finding" => return aegis.block("x", try aegis.memory.dupe(aegis.Finding, &.{text.finding("rule", 3, 1000)})),
        .@"keep state" => {
            seen += 1;
            if (seen > 1) return aegis.block("it kept its state", &.{});
        },
    }
    return aegis.allow();
}

comptime {
    aegis.guard(@This(), .{ .name = "hostile", .version = "0.0.0", .description = "Does what the text says", .stages = &.{.ingress} });
}
