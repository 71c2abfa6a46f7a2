//! Does what the text says: each word is a way to misbehave that Zig knows, or something that the SDK offers.

const std = @import("std");
const aegis = @import("aegis_guard");

var seen: u32 = 0;
var warmed: u32 = 0;

pub const warm_up: []const []const u8 = &.{"warm"};
var depth: u32 = 0;

pub const Settings = struct {
    text: []const u8 = "t",
    number: f64 = 1.5,
    flag: bool = false,
    choice: enum { one, two } = .one,
    list: []const []const u8 = &.{},
};

fn tellSettings(settings: Settings) !aegis.Report {
    var joined: []const u8 = "";
    for (settings.list) |item| joined = try aegis.format("{s}{s}+", .{ joined, item });
    const tenfold: i64 = @intFromFloat(settings.number * 10);
    const flag = if (settings.flag) "yes" else "no";
    return aegis.block(try aegis.format("{s} {d} {s} {s} {s}", .{ settings.text, tenfold, flag, @tagName(settings.choice), joined }), &.{});
}

fn ask() !aegis.Report {
    const approvers = try aegis.memory.dupe(aegis.Text, &.{ .of("team:risk"), .of("role:approver") });
    return aegis.ask(.{ .prompt = .of("sure?"), .approvers = .of(approvers), .required = 2 }, &.{});
}

fn remember(input: aegis.Input) !aegis.Report {
    const before = if (input.memory.get()) |it| it.items() else "";
    const labels = try aegis.memory.dupe(aegis.Label, &.{.{ .key = .of("seen"), .value = .of("yes") }});
    return .{ .memory = .some(.of(try aegis.format("{s}x", .{before}))), .labels = .of(labels) };
}

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

pub fn scan(settings: Settings, input: aegis.Input) !aegis.Report {
    var texts = input.texts();
    const text = texts.next() orelse return aegis.allow();
    const Deed = enum { settings, ask, remember, warm, @"tell warmth", spin, allocate, recurse, panic, @"index behind the end", overflow, @"unreachable", fail, @"forge a finding", @"keep state" };
    const zero: u32 = @as(*volatile u32, &depth).*;
    switch (std.meta.stringToEnum(Deed, text.text) orelse return aegis.mask(try aegis.findAll(input, &.{ "secret", "retsec" }), "***")) {
        .settings => return tellSettings(settings),
        .ask => return ask(),
        .remember => return remember(input),
        .warm => warmed += 1,
        .@"tell warmth" => return aegis.block(try aegis.format("{d}", .{warmed}), &.{}),
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
    aegis.guard(@This(), .{ .name = "hostile", .version = "0.0.0", .description = "Does what the text says" });
}
