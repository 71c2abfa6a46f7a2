//! Checks what was written against the JSON Schema of [`Written`], from end to end: the first mistake does not hide the
//! second. What is wrong is left out of the result.

use super::format;
use super::mistake::{Mistakes, Place, instead, instead_of_key, one_of};
use super::tree::{Node, Value};
use super::written::Written;
use aegis_core::Code;
use serde_json::{Map, Value as Json};

/// Words that a later version will know.
const LATER: [&str; 1] = ["anthropic"];

/// The schema that everything fits.
static ANYTHING: Json = Json::Bool(true);

/// The JSON Schema of a configuration.
pub fn schema() -> Json {
    schemars::schema_for!(Written).into()
}

/// What a schema asks for, as far as it matters here.
enum Kind<'s> {
    Any,
    Object {
        properties: &'s Map<String, Json>,
        required: Vec<&'s str>,
    },
    /// Names of the user's own.
    Map(&'s Json),
    /// One of several, told apart by their `type`.
    Tagged(Vec<(&'s str, &'s Json)>),
    List(&'s Json),
    Choice(Vec<&'s str>),
    Text {
        format: &'s str,
        numbers: bool,
    },
    Integer {
        least: i64,
        most: i64,
    },
    Bool,
}

pub(super) struct Checker<'a> {
    root: &'a Json,
    mistakes: &'a mut Mistakes,
}

impl<'a> Checker<'a> {
    pub(super) fn new(root: &'a Json, mistakes: &'a mut Mistakes) -> Checker<'a> {
        Checker { root, mistakes }
    }

    /// The whole configuration as JSON that [`Written`] can be read from, without what is wrong.
    pub(super) fn check(&mut self, tree: &Node) -> Json {
        self.value(self.root, tree).unwrap_or_else(|| Json::Object(Map::new()))
    }

    fn value(&mut self, schema: &Json, node: &Node) -> Option<Json> {
        match (kind(self.root, schema), &node.value) {
            (Kind::Any, _) => self.any(node),
            (Kind::Object { properties, required }, Value::Map(_) | Value::Null) => self.object(properties, &required, node),
            (Kind::Map(of), Value::Map(_) | Value::Null) => self.map(of, node),
            (Kind::Tagged(branches), Value::Map(_) | Value::Null) => self.tagged(&branches, node),
            (Kind::List(of), Value::List(items)) => {
                // All of them, even after a wrong one.
                let items: Vec<Option<Json>> = items.iter().map(|it| self.value(of, it)).collect();
                items.into_iter().collect()
            }
            (Kind::Choice(words), Value::Text(text)) => self.choice(&words, text, &node.place),
            (Kind::Text { format, .. }, Value::Text(text)) => self.text(format, text, &node.place),
            (Kind::Text { numbers: true, .. }, Value::Number(number)) if number.is_u64() => Some(Json::Number(number.clone())),
            (Kind::Integer { least, most }, Value::Number(number)) => self.integer(least, most, number, &node.place),
            (Kind::Bool, Value::Bool(it)) => Some(Json::Bool(*it)),
            (wanted, _) => self.wrong_kind(&wanted, node),
        }
    }

    /// Whatever it is. But a secret is not looked up here, and must not pass for one.
    fn any(&mut self, node: &Node) -> Option<Json> {
        Some(match &node.value {
            Value::Null => Json::Null,
            Value::Bool(it) => Json::Bool(*it),
            Value::Number(it) => Json::Number(it.clone()),
            Value::Text(text) => return self.text("", text, &node.place),
            Value::List(items) => Json::Array(items.iter().filter_map(|it| self.any(it)).collect()),
            Value::Map(_) => return self.map(&ANYTHING, node),
        })
    }

    fn object(&mut self, properties: &Map<String, Json>, required: &[&str], node: &Node) -> Option<Json> {
        let mut object = Map::new();
        let mut whole = true;
        for entry in self.once(node) {
            match properties.get(&entry.key) {
                None => {
                    let (taken, free): (Vec<_>, Vec<_>) = properties.keys().map(String::as_str).partition(|it| node.get(it).is_some());
                    let hint = instead_of_key(&entry.key, &taken, &free);
                    self.mistakes.invalid(&entry.place, format!("unknown key {:?}{hint}", entry.key));
                }
                Some(schema) if is_blank(self.root, schema, &entry.value) => {}
                Some(schema) => match self.value(schema, &entry.value) {
                    Some(value) => drop(object.insert(entry.key.clone(), value)),
                    None => whole &= !required.contains(&entry.key.as_str()),
                },
            }
        }
        for missing in required.iter().filter(|it| !node.get(it).is_some_and(|it| !matches!(it.value, Value::Null))) {
            self.mistakes.invalid(&node.place, format!("{missing:?} is missing here"));
            whole = false;
        }
        whole.then_some(Json::Object(object))
    }

    fn map(&mut self, of: &Json, node: &Node) -> Option<Json> {
        let entries = self.once(node).into_iter();
        Some(Json::Object(entries.filter_map(|it| Some((it.key.clone(), self.value(of, &it.value)?))).collect()))
    }

    /// The entries without those that stand there a second time.
    fn once<'n>(&mut self, node: &'n Node) -> Vec<&'n super::tree::Entry> {
        let mut first: Vec<&super::tree::Entry> = vec![];
        let mut seen = std::collections::BTreeMap::new();
        for entry in node.entries() {
            if let Some(Place::File { line, .. }) = seen.get(&entry.key) {
                self.mistakes
                    .invalid(&entry.place, format!("the key {:?} stands here a second time, after line {line}: leave one", entry.key));
            } else {
                seen.insert(&entry.key, entry.place.clone());
                first.push(entry);
            }
        }
        first
    }

    fn tagged(&mut self, branches: &[(&str, &Json)], node: &Node) -> Option<Json> {
        let tags: Vec<&str> = branches.iter().map(|it| it.0).collect();
        let Some(tag) = node.get("type") else {
            self.mistakes.invalid(&node.place, format!("\"type\" is missing here: write type: {}", one_of(&tags)));
            return None;
        };
        let Value::Text(word) = &tag.value else { return self.wrong_kind(&Kind::Choice(tags), tag) };
        self.choice(&tags, word, &tag.place)?;
        let branch = branches.iter().find(|it| it.0 == word)?.1;
        self.value(branch, node)
    }

    fn choice(&mut self, words: &[&str], text: &str, place: &Place) -> Option<Json> {
        if words.contains(&text) {
            return Some(Json::String(text.into()));
        }
        if LATER.contains(&text) {
            self.mistakes.add(Code::CFG_UNSUPPORTED, place, format!("{text:?} is not in this version: write {}", one_of(words)));
        } else {
            self.mistakes.invalid(place, format!("{} is not possible here{}", shown(text), instead(text, words.iter().copied())));
        }
        None
    }

    fn text(&mut self, format: &str, text: &str, place: &Place) -> Option<Json> {
        if format != "secret" && text.starts_with("secret://") {
            self.mistakes.invalid(place, "a secret cannot stand here: only the api_key of a provider is one");
            return None;
        }
        match format::check(format, text) {
            Ok(()) => Some(Json::String(text.into())),
            Err((code, message)) => {
                self.mistakes.add(code, place, message);
                None
            }
        }
    }

    fn integer(&mut self, least: i64, most: i64, number: &serde_json::Number, place: &Place) -> Option<Json> {
        let fits = number.as_i64().is_some_and(|it| (least..=most).contains(&it));
        if !fits {
            self.mistakes.invalid(place, format!("{number} is not possible here: write a whole number from {least} to {most}"));
        }
        fits.then(|| Json::Number(number.clone()))
    }

    fn wrong_kind(&mut self, wanted: &Kind<'_>, node: &Node) -> Option<Json> {
        let hint = match (wanted, &node.value) {
            (Kind::Tagged(branches), Value::Text(word)) if branches.iter().any(|it| it.0 == word) => format!(": write {{type: {word}}}"),
            (Kind::Text { format: "duration", .. }, Value::Number(it)) => format!(": write the unit, too: {it}ms, {it}s or {it}h"),
            (Kind::Text { format: "secret", .. }, _) => ": write secret://env/NAME or secret://file/PATH".into(),
            (Kind::Text { numbers: true, .. }, _) => ": write for example 64KiB or 1MiB".into(),
            (Kind::Text { format: "address", .. }, Value::Number(it)) => format!(": write the address, too, for example 127.0.0.1:{it}"),
            // What was written is lost: YAML took it for a number.
            (Kind::Text { format: "sha256", .. }, Value::Number(_)) => ": write it in quotes".into(),
            (Kind::Integer { least, most }, _) => format!(": write one from {least} to {most}"),
            (Kind::Text { .. }, Value::Number(it)) => format!(": write \"{it}\" in quotes if that is meant"),
            (Kind::Text { .. }, Value::Bool(it)) => format!(": write \"{it}\" in quotes if that is meant"),
            (Kind::Choice(words), _) => format!(": write {}", one_of(words)),
            (Kind::List(_), Value::Text(_) | Value::Number(_)) => ": write [ and ] around it".into(),
            (Kind::List(_), Value::Null) => ": write [] for none".into(),
            (Kind::Bool, _) => ": write true or false".into(),
            _ => String::new(),
        };
        self.mistakes.invalid(&node.place, format!("expected {}, and this is {}{hint}", wanted.name(), node.kind()));
        None
    }
}

/// Overrides by environment variables.
impl<'a> Checker<'a> {
    /// Sets in `tree` what `AEGIS__A__B` names. Case does not matter, and `_` stands for any character that variables cannot have.
    pub(super) fn set(&mut self, tree: &mut Node, variable: &str, text: &str) {
        let place = Place::Variable(variable.to_string());
        let Some((path, schema)) = self.named(tree, variable, &place) else { return };
        let Some(value) = self.parse(schema, &place, text) else { return };
        // Where something above is no map, the check reports the file's own mistake.
        if let Some(node) = path.iter().try_fold(tree, |node, name| node.entry(name, &place)) {
            *node = value;
        }
    }

    /// The keys and names that a variable means, and the schema of what they lead to.
    fn named(&mut self, tree: &Node, variable: &str, place: &Place) -> Option<(Vec<String>, &'a Json)> {
        let (mut schema, mut node, mut path) = (self.root, Some(tree), vec![]);
        for step in variable.split("__").skip(1) {
            let names = names(self.root, schema, node);
            let Some((name, below)) = names.iter().find(|(name, _)| as_variable(name) == as_variable(step)) else {
                let known: Vec<String> = names.iter().map(|it| as_variable(&it.0)).collect();
                let near = instead(&as_variable(step), known.iter().map(String::as_str));
                let above: Vec<String> = ["AEGIS".to_string()].into_iter().chain(path.iter().map(|it: &String| as_variable(it))).collect();
                self.mistakes.invalid(place, format!("this names nothing: there is no {step:?} under {}{near}", above.join("__")));
                return None;
            };
            node = node.and_then(|it| it.get(name));
            schema = *below;
            path.push(name.clone());
        }
        Some((path, schema))
    }

    /// Where text is wanted it is taken as it is: `[::1]:8000` is no list.
    fn parse(&mut self, schema: &Json, place: &Place, text: &str) -> Option<Node> {
        if matches!(kind(self.root, schema), Kind::Text { numbers: false, .. } | Kind::Choice(_)) {
            return Some(Node::text(place.clone(), text));
        }
        let mut mistakes = Mistakes::default();
        let node = Node::read(text, &mut mistakes);
        if node.is_none() {
            self.mistakes.invalid(place, "its value is not YAML that can be read here");
        }
        node.map(|mut it| {
            it.move_to(place);
            it
        })
    }
}

/// What may stand below a node, with its schema: keys that the schema knows, names that the file has.
fn names<'s>(root: &'s Json, schema: &'s Json, node: Option<&Node>) -> Vec<(String, &'s Json)> {
    let own = |of: &'s Json| node.into_iter().flat_map(Node::keys).map(|key| (key.to_string(), of)).collect();
    match kind(root, schema) {
        Kind::Object { properties, .. } => properties.iter().map(|(name, below)| (name.clone(), below)).collect(),
        Kind::Map(of) => own(of),
        Kind::Any => own(&ANYTHING),
        Kind::Tagged(branches) => {
            let tag =
                node.and_then(|it| it.get("type")).and_then(|it| if let Value::Text(tag) = &it.value { Some(tag.as_str()) } else { None });
            let branch = branches.iter().find(|it| Some(it.0) == tag).or(branches.first());
            branch.map_or(vec![], |it| names(root, it.1, node))
        }
        _ => vec![],
    }
}

fn as_variable(name: &str) -> String {
    name.chars().map(|it| if it.is_ascii_alphanumeric() { it.to_ascii_uppercase() } else { '_' }).collect()
}

/// A key whose value was left blank counts as left out; but a list is not forgotten for want of its items, they may be approvers.
fn is_blank(root: &Json, schema: &Json, node: &Node) -> bool {
    matches!(node.value, Value::Null) && !matches!(kind(root, schema), Kind::List(_))
}

fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(80).collect::<String>())
}

impl Kind<'_> {
    fn name(&self) -> &'static str {
        match self {
            Kind::Any => "anything",
            Kind::Object { .. } | Kind::Map(_) | Kind::Tagged(_) => "a map",
            Kind::List(_) => "a list",
            Kind::Choice(_) => "a word",
            Kind::Text { format: "duration", .. } => "a length of time",
            Kind::Text { format: "size", .. } => "a size",
            Kind::Text { .. } => "text",
            Kind::Integer { .. } => "a whole number",
            Kind::Bool => "true or false",
        }
    }
}

fn kind<'s>(root: &'s Json, schema: &'s Json) -> Kind<'s> {
    let format = schema["format"].as_str().unwrap_or_default();
    match of(root, schema) {
        // A reference or an alternative to null may say the format outside.
        Kind::Text { format: "", numbers } => Kind::Text { format, numbers },
        kind => kind,
    }
}

fn of<'s>(root: &'s Json, schema: &'s Json) -> Kind<'s> {
    if let Some(name) = schema["$ref"].as_str() {
        return kind(root, root.pointer(name.trim_start_matches('#')).unwrap_or(&ANYTHING));
    }
    if let Some(other) = schema["anyOf"].as_array().and_then(|it| it.iter().find(|it| it["type"] != "null")) {
        return kind(root, other);
    }
    let branches = schema["oneOf"].as_array().into_iter().flatten();
    let tagged: Vec<(&str, &Json)> = branches.filter_map(|it| Some((it["properties"]["type"]["const"].as_str()?, it))).collect();
    if !tagged.is_empty() {
        return Kind::Tagged(tagged);
    }
    if let Some(words) = schema["enum"].as_array() {
        return Kind::Choice(words.iter().filter_map(Json::as_str).collect());
    }
    plain(schema)
}

fn plain(schema: &Json) -> Kind<'_> {
    let types: Vec<&str> = match &schema["type"] {
        Json::Array(types) => types.iter().filter_map(Json::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    match types.first() {
        Some(&"object") => match (schema["properties"].as_object(), &schema["additionalProperties"]) {
            (Some(properties), _) => Kind::Object {
                properties,
                required: schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect(),
            },
            (None, of) => Kind::Map(of),
        },
        Some(&"array") => Kind::List(&schema["items"]),
        Some(&"string") if schema["const"].is_string() => Kind::Choice(schema["const"].as_str().into_iter().collect()),
        Some(&"string") => Kind::Text { format: schema["format"].as_str().unwrap_or_default(), numbers: types.contains(&"integer") },
        Some(&"integer") => Kind::Integer {
            least: schema["minimum"].as_i64().unwrap_or(i64::MIN),
            most: schema["maximum"].as_i64().unwrap_or(if schema["format"] == "uint32" { u32::MAX.into() } else { i64::MAX }),
        },
        Some(&"boolean") => Kind::Bool,
        _ => Kind::Any,
    }
}
