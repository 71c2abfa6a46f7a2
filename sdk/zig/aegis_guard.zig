//! Write a guard for Aegis in Zig. A guard is a function of what it is handed: no files, no network, no clock, no randomness.
//!
//!     const aegis = @import("aegis_guard");
//!
//!     pub const Settings = struct { words: []const []const u8 };
//!
//!     pub fn scan(settings: Settings, input: aegis.Input) !aegis.Report {
//!         return aegis.blockIfAny("a forbidden word", try aegis.findAll(input, settings.words));
//!     }
//!
//!     comptime {
//!         aegis.guard(@This(), .{ .name = "words", .version = "0.1.0", .description = "Blocks forbidden words" });
//!     }
//!
//! The guard's file may also have
//!   * `pub fn configured(settings: *Settings) !?[]const u8`: what is dear happens here, once, at load; why the settings are refused, or null,
//!   * `pub const warm_up: []const []const u8`: texts like those of the traffic, scanned at load, so that whatever fills lazily is full when the
//!     first real text comes,
//!   * in `Settings`, `pub const descriptions = .{ .words = "What nobody may say" }`.
//!
//! What to know:
//!   * One instance, one scan: what a variable holds after `configured` is there in every scan, and what a scan puts there is gone after it.
//!     What has to last until a later stage of the same run goes into `Report.memory` and comes back as `Input.memory`.
//!   * Offsets count bytes of the UTF-8 text.
//!   * `aegis.memory` gives memory that nobody has to free: it goes when the scan is over; what `configured` took stays.
//!   * An error is no verdict: the guard could not judge, and nothing passes it. A panic means the same, with less to read.
//!
//! The types below are the contract's own (aegis:guard@0.1.0), laid out as its canonical ABI has them: no bindings in between.

const std = @import("std");

// ---- the contract's types ----

pub fn List(comptime T: type) type {
    return extern struct {
        ptr: ?[*]const T = null,
        len: usize = 0,

        pub fn of(slice: []const T) @This() {
            return .{ .ptr = slice.ptr, .len = slice.len };
        }

        pub fn items(it: @This()) []const T {
            return if (it.len == 0) &.{} else it.ptr.?[0..it.len];
        }
    };
}

pub const Text = List(u8);

pub fn Optional(comptime T: type) type {
    return extern struct {
        is_some: bool = false,
        value: T = std.mem.zeroes(T),

        pub fn some(value: T) @This() {
            return .{ .is_some = true, .value = value };
        }

        pub fn get(it: @This()) ?T {
            return if (it.is_some) it.value else null;
        }
    };
}

/// Where in the pipeline a guard is asked.
pub const Stage = enum(u8) { ingress, tool_result, tool_call, egress };
pub const Role = enum(u8) { system, developer, user, assistant, tool };

/// `uri`: as the client wrote it; of inline data only its digest, as `sha256:<hex>`.
pub const Media = extern struct { mime: Text, uri: Text };

/// One piece of a message; `other`: anything else, as the JSON it came in.
pub const Part = extern struct {
    tag: enum(u8) { text, media, other },
    value: extern union { text: Text, media: Media, other: Text },
};

/// `arguments` is JSON text, as the model wrote it.
pub const ToolCall = extern struct { id: Text, name: Text, arguments: Text };

pub const Message = extern struct {
    role: Role,
    parts: List(Part) = .{},
    /// The author's name where the client gave one.
    name: Optional(Text) = .{},
    tool_calls: List(ToolCall) = .{},
    /// Of role `tool`: the call that this answers.
    tool_call_id: Optional(Text) = .{},
};

/// `parameters` is a JSON Schema.
pub const Tool = extern struct { name: Text, description: Text, parameters: Text };
pub const Principal = extern struct { id: Text = .{}, teams: List(Text) = .{}, roles: List(Text) = .{} };
pub const Label = extern struct { key: Text, value: Text };

pub const Input = extern struct {
    stage: Stage,
    run_id: Text = .{},
    route: Text = .{},
    model: Text = .{},
    principal: Principal = .{},
    /// When the run came to this step, in milliseconds since the Unix epoch.
    time: u64 = 0,
    /// What the client sent along.
    metadata: List(Label) = .{},
    /// Further facts from the host; take no notice of names that you do not know.
    context: List(Label) = .{},
    /// Left by guards that ran earlier in this run.
    labels: List(Label) = .{},
    /// What this guard handed back at an earlier stage of this run.
    memory: Optional(Text) = .{},
    tools: List(Tool) = .{},
    /// At `tool_call` and `egress` the model's reply is the last.
    messages: List(Message) = .{},

    /// The texts that the stage is about: at `ingress` tool descriptions and all of every message, at `tool_result` messages of role `tool`,
    /// at `tool_call` the arguments of the reply's calls, at `egress` the reply's parts.
    pub fn texts(input: *const Input) Texts {
        return .{ .input = input };
    }
};

/// A place in the input; numbers count from 0. Of `part` and `arguments` both numbers mean something, of `tool` the first.
pub const Place = extern struct {
    tag: enum(u8) { part, arguments, tool },
    first: u32,
    second: u32 = 0,
};

pub const Edit = extern struct { at: Place, start: u32, end: u32, text: Text };
pub const Finding = extern struct { rule: Text, at: Place, start: u32, end: u32, score: Optional(f32) = .{} };

/// `approvers`: only these may decide (principals, `team:…`, `role:…`); none: whoever the configuration names. `required`: at least so many
/// people; 0: as many as the configuration says.
pub const Question = extern struct { prompt: Text, approvers: List(Text) = .{}, required: u32 = 0 };

pub const Verdict = extern struct {
    tag: enum(u8) { allow, sanitize, block, require_approval } = .allow,
    value: extern union { edits: List(Edit), why: Text, question: Question } = .{ .why = .{} },
};

pub const Report = extern struct {
    verdict: Verdict = .{},
    findings: List(Finding) = .{},
    labels: List(Label) = .{},
    memory: Optional(Text) = .{},
};

// ---- reading ----

/// A text of the input, and where it stands.
pub const Found = struct {
    text: []const u8,
    at: Place,
    /// Arguments of a call, or a part that is neither text nor media (which may not be edited).
    json: bool,
    /// The message it stands in; null for the description of a tool.
    message: ?*const Message,

    /// Evidence that `rule` saw something at these bytes of the text.
    pub fn finding(it: Found, rule: []const u8, start: usize, end: usize) Finding {
        return .{ .rule = .of(rule), .at = it.at, .start = @intCast(start), .end = @intCast(end) };
    }
};

/// See `Input.texts`.
pub const Texts = struct {
    input: *const Input,
    tool: usize = 0,
    message: usize = 0,
    part: usize = 0,
    call: usize = 0,

    pub fn next(it: *Texts) ?Found {
        const input = it.input;
        const tools = input.tools.items();
        if (input.stage == .ingress and it.tool < tools.len) {
            defer it.tool += 1;
            return .{ .text = tools[it.tool].description.items(), .at = .{ .tag = .tool, .first = @intCast(it.tool) }, .json = false, .message = null };
        }
        const messages = input.messages.items();
        while (it.message < messages.len) : (it.* = .{ .input = input, .tool = it.tool, .message = it.message + 1 }) {
            const message = &messages[it.message];
            const asked = switch (input.stage) {
                .ingress => true,
                .tool_result => message.role == .tool,
                .tool_call, .egress => it.message + 1 == messages.len,
            };
            if (asked) return it.inside(message) orelse continue;
        }
        return null;
    }

    fn inside(it: *Texts, message: *const Message) ?Found {
        const number: u32 = @intCast(it.message);
        const parts = if (it.input.stage == .tool_call) &.{} else message.parts.items();
        while (it.part < parts.len) {
            const part = parts[it.part];
            const at: Place = .{ .tag = .part, .first = number, .second = @intCast(it.part) };
            it.part += 1;
            if (part.tag != .media) return .{ .text = part.value.text.items(), .at = at, .json = part.tag == .other, .message = message };
        }
        const calls = if (it.input.stage == .ingress or it.input.stage == .tool_call) message.tool_calls.items() else &.{};
        if (it.call == calls.len) return null;
        defer it.call += 1;
        const at: Place = .{ .tag = .arguments, .first = number, .second = @intCast(it.call) };
        return .{ .text = calls[it.call].arguments.items(), .at = at, .json = true, .message = message };
    }
};

/// The places where one of the phrases stands in a text, in any case of ASCII letters; the phrase is the rule.
pub fn find(found: *std.ArrayList(Finding), text: Found, phrases: []const []const u8) !void {
    for (phrases) |phrase| {
        if (phrase.len == 0) continue;
        var from: usize = 0;
        while (std.ascii.findIgnoreCasePos(text.text, from, phrase)) |at| : (from = at + phrase.len)
            try found.append(memory, text.finding(phrase, at, at + phrase.len));
    }
}

/// The same in all texts of the stage.
pub fn findAll(input: Input, phrases: []const []const u8) ![]const Finding {
    var found: std.ArrayList(Finding) = .empty;
    var texts = input.texts();
    while (texts.next()) |text| try find(&found, text, phrases);
    return found.items;
}

// ---- reporting ----

pub fn allow() Report {
    return .{};
}

pub fn block(why: []const u8, found: []const Finding) Report {
    return .{ .verdict = .{ .tag = .block, .value = .{ .why = .of(why) } }, .findings = .of(found) };
}

/// Blocks where anything was found.
pub fn blockIfAny(why: []const u8, found: []const Finding) Report {
    return if (found.len == 0) allow() else block(why, found);
}

pub fn requireApproval(prompt: []const u8, found: []const Finding) Report {
    return ask(.{ .prompt = .of(prompt) }, found);
}

pub fn ask(question: Question, found: []const Finding) Report {
    return .{ .verdict = .{ .tag = .require_approval, .value = .{ .question = question } }, .findings = .of(found) };
}

/// Puts `with` in the place of everything found (what overlaps is replaced together); allows where nothing was.
pub fn mask(found: []const Finding, with: []const u8) !Report {
    const sorted = try memory.dupe(Finding, found);
    std.mem.sort(Finding, sorted, {}, before);
    var edits: std.ArrayList(Edit) = .empty;
    for (sorted) |it| {
        if (edits.items.len > 0) {
            const last = &edits.items[edits.items.len - 1];
            if (std.meta.eql(last.at, it.at) and it.start < last.end) {
                last.end = @max(last.end, it.end);
                continue;
            }
        }
        try edits.append(memory, .{ .at = it.at, .start = it.start, .end = it.end, .text = .of(with) });
    }
    return edit(edits.items, found);
}

/// Replaces by hand.
pub fn edit(edits: []const Edit, found: []const Finding) Report {
    if (edits.len == 0) return .{ .findings = .of(found) };
    return .{ .verdict = .{ .tag = .sanitize, .value = .{ .edits = .of(edits) } }, .findings = .of(found) };
}

fn before(_: void, a: Finding, b: Finding) bool {
    const left = .{ @intFromEnum(a.at.tag), a.at.first, a.at.second, a.start };
    const right = .{ @intFromEnum(b.at.tag), b.at.first, b.at.second, b.start };
    inline for (left, right) |l, r| if (l != r) return l < r;
    return false;
}

/// As `std.fmt.allocPrint`, in memory that nobody has to free.
pub fn format(comptime template: []const u8, values: anytype) ![]const u8 {
    return std.fmt.allocPrint(memory, template, values);
}

// ---- memory ----

var kept = std.heap.ArenaAllocator.init(std.heap.wasm_allocator);
var passing = std.heap.ArenaAllocator.init(std.heap.wasm_allocator);
var is_configured = false;
var is_spent = false;

/// Memory that nobody has to free: what `configured` takes stays, the rest goes when the scan is over.
pub const memory: std.mem.Allocator = .{ .ptr = undefined, .vtable = &.{ .alloc = alloc, .resize = std.mem.Allocator.noResize, .remap = std.mem.Allocator.noRemap, .free = std.mem.Allocator.noFree } };

fn alloc(_: *anyopaque, len: usize, alignment: std.mem.Alignment, address: usize) ?[*]u8 {
    const arena = if (is_configured) passing.allocator() else kept.allocator();
    return arena.rawAlloc(len, alignment, address);
}

fn forget() void {
    if (is_spent) _ = passing.reset(.retain_capacity);
    is_spent = false;
}

/// The host's door for texts and lists that it hands over.
fn realloc(old: ?[*]const u8, old_size: usize, alignment: usize, size: usize) callconv(.c) *anyopaque {
    forget();
    if (size == 0) return @ptrFromInt(alignment);
    const fresh = memory.rawAlloc(size, .fromByteUnits(alignment), 0) orelse @panic("out of memory");
    if (old_size > 0) @memcpy(fresh[0..old_size], old.?[0..old_size]);
    return fresh;
}

// ---- a guard ----

pub const About = struct {
    name: []const u8,
    version: []const u8,
    /// What it does, in a sentence.
    description: []const u8,
    stages: []const Stage = &.{ .ingress, .tool_result, .tool_call, .egress },
    /// `message`: judges each message by itself; `conversation`: in the light of others.
    scope: enum(u8) { message, conversation } = .conversation,
    /// Further facts about it, such as `.{ "license", "Apache-2.0" }`.
    notes: []const [2][]const u8 = &.{},
};

/// Makes a component of the guard's file; once in it.
pub fn guard(comptime Guard: type, comptime about: About) void {
    const Exports = Component(Guard, about);
    const scanner = "aegis:guard/scanner@0.1.0#";
    @export(&realloc, .{ .name = "cabi_realloc" });
    @export(&Exports.describe, .{ .name = scanner ++ "describe" });
    @export(&Exports.configure, .{ .name = scanner ++ "configure" });
    @export(&Exports.scan, .{ .name = scanner ++ "scan" });
}

const Manifest = extern struct {
    name: Text,
    version: Text,
    description: Text,
    stages: List(Stage),
    streaming: u8 = 0,
    scope: u8,
    settings_schema: Text,
    notes: List(Label),
};

const ConfigureResult = extern struct { is_error: bool, why: Text };
const ScanResult = extern struct { is_error: bool, value: extern union { report: Report, why: Text } };

comptime {
    // A layout that is not the contract's would be read wrongly without a word.
    for (.{ Part, Message, Input, Finding, Edit, Report, Manifest, ScanResult }, .{ 20, 44, 120, 36, 28, 52, 52, 56 }) |T, size|
        if (@sizeOf(usize) == 4 and @sizeOf(T) != size) @compileError(@typeName(T) ++ " is not laid out as the contract has it");
}

fn Component(comptime Guard: type, comptime about: About) type {
    return struct {
        const Settings = if (@hasDecl(Guard, "Settings")) Guard.Settings else struct {};
        const notes = blk: {
            var labels: [about.notes.len]Label = undefined;
            for (about.notes, &labels) |note, *label| label.* = .{ .key = .of(note[0]), .value = .of(note[1]) };
            break :blk labels;
        };
        const manifest: Manifest = .{
            .name = .of(about.name),
            .version = .of(about.version),
            .description = .of(about.description),
            .stages = .of(about.stages),
            .scope = @intFromEnum(about.scope),
            .settings_schema = .of(schema(Settings)),
            .notes = .of(&notes),
        };
        var settings: Settings = undefined;
        var configured: ConfigureResult = undefined;
        var scanned: ScanResult = undefined;

        fn describe() callconv(.c) *const Manifest {
            return &manifest;
        }

        fn configure(text: [*]const u8, len: usize) callconv(.c) *const ConfigureResult {
            const refusal = prepare(text[0..len]) catch |mistake| @errorName(mistake);
            configured = .{ .is_error = refusal != null, .why = .of(refusal orelse "") };
            return &configured;
        }

        /// Why the settings are refused, or null.
        fn prepare(text: []const u8) !?[]const u8 {
            if (is_configured) return "configured twice";
            if (try read(Settings, text, &settings)) |mistake| return mistake;
            if (@hasDecl(Guard, "configured")) if (try Guard.configured(&settings)) |refusal| return refusal;
            is_configured = true;
            if (@hasDecl(Guard, "warm_up")) for (Guard.warm_up) |sample| {
                for (about.stages) |stage| _ = judge(example(stage, &sample)) catch |mistake|
                    return try format("warm-up: {s}", .{@errorName(mistake)});
            };
            is_spent = true;
            return null;
        }

        fn judge(input: Input) anyerror!Report {
            return if (@hasDecl(Guard, "Settings")) Guard.scan(settings, input) else Guard.scan(input);
        }

        fn scan(input: *const Input) callconv(.c) *const ScanResult {
            scanned = if (!is_configured) failed("not configured") else if (judge(input.*)) |report|
                .{ .is_error = false, .value = .{ .report = report } }
            else |mistake|
                failed(format("the guard failed: {s}", .{@errorName(mistake)}) catch @errorName(mistake));
            is_spent = true;
            return &scanned;
        }

        fn failed(why: []const u8) ScanResult {
            return .{ .is_error = true, .value = .{ .why = .of(why) } };
        }
    };
}

/// An input of one text.
fn example(stage: Stage, text: *const []const u8) Input {
    const one = struct {
        var part: [1]Part = undefined;
        var call: [1]ToolCall = undefined;
        var message: [1]Message = undefined;
    };
    one.part[0] = .{ .tag = .text, .value = .{ .text = .of(text.*) } };
    one.call[0] = .{ .id = .of("call-1"), .name = .of("tool"), .arguments = .of(text.*) };
    one.message[0] = switch (stage) {
        .ingress => .{ .role = .user, .parts = .of(&one.part) },
        .tool_result => .{ .role = .tool, .parts = .of(&one.part) },
        .tool_call => .{ .role = .assistant, .tool_calls = .of(&one.call) },
        .egress => .{ .role = .assistant, .parts = .of(&one.part) },
    };
    return .{ .stage = stage, .messages = .of(&one.message) };
}

// ---- settings ----

/// Reads the settings; why that cannot be done, or null.
fn read(comptime Settings: type, text: []const u8, into: *Settings) !?[]const u8 {
    const trimmed = std.mem.trim(u8, text, " \t\r\n");
    const value = std.json.parseFromSliceLeaky(std.json.Value, memory, if (trimmed.len == 0) "{}" else trimmed, .{ .allocate = .alloc_always }) catch
        return "settings: expected a JSON object";
    if (value != .object) return "settings: expected a JSON object";
    for (value.object.keys()) |name| {
        if (!known(Settings, name)) return try format("unknown setting \"{s}\"; known are: {s}", .{ name, comptime names(Settings) });
    }
    const info = @typeInfo(Settings).@"struct";
    inline for (info.field_names, info.field_types, info.field_attrs) |name, T, attrs| {
        if (value.object.get(name)) |given| {
            @field(into, name) = std.json.parseFromValueLeaky(T, memory, given, .{ .allocate = .alloc_always }) catch return comptime expected(name, T);
            if (T == []const []const u8) if (isEmpty(@field(into, name), attrs.default_value_ptr == null)) return comptime expected(name, T);
        } else if (attrs.defaultValue(T)) |default| {
            @field(into, name) = default;
        } else if (@typeInfo(T) == .optional) {
            @field(into, name) = null;
        } else return name ++ ": is missing";
    }
    return null;
}

fn isEmpty(texts: []const []const u8, required: bool) bool {
    for (texts) |text| if (text.len == 0) return true;
    return required and texts.len == 0;
}

fn known(comptime Settings: type, name: []const u8) bool {
    inline for (@typeInfo(Settings).@"struct".field_names) |it| if (std.mem.eql(u8, it, name)) return true;
    return false;
}

fn names(comptime Settings: type) []const u8 {
    comptime {
        var out: []const u8 = "";
        for (@typeInfo(Settings).@"struct".field_names) |it| out = out ++ (if (out.len == 0) "" else ", ") ++ it;
        return if (out.len == 0) "none" else out;
    }
}

fn expected(comptime name: []const u8, comptime T: type) []const u8 {
    comptime {
        if (T == []const u8) return name ++ ": expected a text";
        if (T == []const []const u8) return name ++ ": expected a list of texts that are not empty";
        return name ++ switch (@typeInfo(T)) {
            .bool => ": expected true or false",
            .int => ": expected a whole number",
            .float => ": expected a number",
            .@"enum" => |it| blk: {
                var out: []const u8 = ": expected ";
                for (it.field_names, 0..) |choice, i| out = out ++ (if (i == 0) "" else if (i + 1 == it.field_names.len) " or " else ", ") ++ choice;
                break :blk out;
            },
            else => ": expected something else",
        };
    }
}

/// JSON Schema of a struct's fields. A field is required that has no default and is no optional.
fn schema(comptime Settings: type) []const u8 {
    comptime {
        @setEvalBranchQuota(100_000);
        const info = @typeInfo(Settings).@"struct";
        if (info.field_names.len == 0) return "";
        var properties: []const u8 = "";
        var required: []const u8 = "";
        for (info.field_names, info.field_types, info.field_attrs) |name, T, attrs| {
            const needed = attrs.default_value_ptr == null and @typeInfo(T) != .optional;
            properties = properties ++ (if (properties.len == 0) "" else ",") ++ quoted(name) ++ ":{" ++ described(Settings, name) ++ kind(T, needed) ++ defaulted(T, attrs) ++ "}";
            if (needed) required = required ++ (if (required.len == 0) "" else ",") ++ quoted(name);
        }
        return "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{" ++ properties ++ "},\"required\":[" ++ required ++ "]}";
    }
}

fn described(comptime Settings: type, comptime name: []const u8) []const u8 {
    if (!@hasDecl(Settings, "descriptions") or !@hasField(@TypeOf(Settings.descriptions), name)) return "";
    return "\"description\":" ++ quoted(@field(Settings.descriptions, name)) ++ ",";
}

fn kind(comptime T: type, comptime required: bool) []const u8 {
    if (T == []const u8) return "\"type\":\"string\"";
    if (T == []const []const u8) return "\"type\":\"array\",\"items\":{\"type\":\"string\",\"minLength\":1}" ++ if (required) ",\"minItems\":1" else "";
    return switch (@typeInfo(T)) {
        .bool => "\"type\":\"boolean\"",
        .int => |it| "\"type\":\"integer\"" ++ if (it.signedness == .unsigned) ",\"minimum\":0" else "",
        .float => "\"type\":\"number\"",
        .optional => |it| kind(it.child, false),
        .@"enum" => |it| blk: {
            var out: []const u8 = "\"enum\":[";
            for (it.field_names, 0..) |choice, i| out = out ++ (if (i == 0) "" else ",") ++ quoted(choice);
            break :blk out ++ "]";
        },
        else => @compileError("a setting is a []const u8, a list of those, a bool, an integer, a float, an enum, or one of them made optional; not a " ++ @typeName(T)),
    };
}

fn defaulted(comptime T: type, comptime attrs: anytype) []const u8 {
    const value = attrs.defaultValue(T) orelse return "";
    if (T == []const u8) return ",\"default\":" ++ quoted(value);
    return switch (@typeInfo(T)) {
        .bool, .int, .float => std.fmt.comptimePrint(",\"default\":{}", .{value}),
        .@"enum" => ",\"default\":" ++ quoted(@tagName(value)),
        else => "",
    };
}

fn quoted(comptime text: []const u8) []const u8 {
    comptime {
        var out: []const u8 = "\"";
        for (text) |c| out = out ++ switch (c) {
            '"', '\\' => "\\" ++ [_]u8{c},
            0...0x1f => std.fmt.comptimePrint("\\u{x:0>4}", .{c}),
            else => &[_]u8{c},
        };
        return out ++ "\"";
    }
}
