//! What the guards are asked about: one message of prose, the same every time.

use aegis_core::*;
use std::collections::BTreeMap;

const WORDS: [&str; 52] = [
    "please",
    "could",
    "you",
    "help",
    "me",
    "with",
    "my",
    "order",
    "number",
    "4471",
    "which",
    "I",
    "placed",
    "on",
    "Monday",
    "the",
    "delivery",
    "was",
    "late",
    "and",
    "one",
    "of",
    "items",
    "is",
    "missing;",
    "also",
    "I'd",
    "like",
    "to",
    "know",
    "whether",
    "refunds",
    "take",
    "longer",
    "than",
    "10",
    "days,",
    "because",
    "token",
    "support",
    "said",
    "something",
    "else.",
    "Thanks",
    "for",
    "everything",
    "SKU-88",
    "(urgent)",
    "https://shop.example/help",
    "it's",
    "für",
    "Müller",
];

/// Prose of at most so many bytes, with an address of e-mail after 150 bytes and then every 2 KB.
pub(crate) fn prose(bytes: usize) -> String {
    let (mut text, mut random, mut next) = (String::new(), 88_172_645_463_325_252_u64, 150);
    while text.len() < bytes {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        text.push_str(WORDS[(random >> 20) as usize % WORDS.len()]);
        text.push(' ');
        if text.len() > next {
            next += 2_000;
            text.push_str("jane.doe@example.com ");
        }
    }
    text.truncate(text.floor_char_boundary(bytes));
    text
}

/// Owns what an input borrows.
pub(crate) struct Conversation {
    guard: Guard,
    principal: Principal,
    metadata: BTreeMap<String, String>,
    messages: Vec<Message>,
}

impl Conversation {
    pub(crate) fn new(text: &str) -> Conversation {
        let digest = Digest::of(b"");
        let (mode, on_failure, approval) = (Mode::default(), OnFailure::default(), ApprovalRule::default());
        let guard = Guard { name: "guard".into(), component: digest, settings: digest, scope: Scope::Message, mode, on_failure, approval };
        let messages = vec![Message::text(Role::User, text)];
        Conversation { guard, principal: Principal::anonymous(), metadata: BTreeMap::new(), messages }
    }

    pub(crate) fn input(&self) -> Input<'_> {
        Input {
            step: 1,
            guard: &self.guard,
            stage: Stage::Ingress,
            run: RunId::new(Time(1_790_000_000_000), [7; 10]),
            route: "default",
            model: "model",
            principal: &self.principal,
            time: Time(1_790_000_000_000),
            metadata: &self.metadata,
            context: vec![],
            labels: &[],
            memory: None,
            tools: &[],
            messages: self.messages.iter().collect(),
        }
    }
}
