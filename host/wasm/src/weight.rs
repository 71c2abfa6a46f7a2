//! What a component weighs, read before any validator or compiler sees it: some things cost their author three bytes and
//! the compiler a stack frame, or a line and the compiler a minute.

use wasmparser::{FunctionBody, Parser, Payload};

/// More of something than a guard may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has {size} {what}, and at most {most} are allowed")]
pub struct Heavy {
    /// What there is too much of.
    pub what: &'static str,
    /// How much there is.
    pub size: usize,
    /// How much is allowed.
    pub most: usize,
}

/// Of all modules together. Python, the largest runtime known, has some 25 000.
const FUNCTIONS: usize = 65_536;
/// Bytes of one function: compiling takes more than twice as long for twice as many. Interpreters' loops have some 100 000.
const FUNCTION: usize = 1 << 20;
/// Of one function.
const LOCALS: usize = 10_000;
/// Of all functions together.
const ALL_LOCALS: usize = 4_000_000;
/// Types of components or instances within such types: each is read on top of the one around it.
const NESTED_TYPES: usize = 1_000;
/// Modules and components within it, at any depth.
const PIECES: usize = 1_000;

#[derive(Default)]
struct Weight {
    functions: usize,
    function: usize,
    locals: usize,
    all_locals: usize,
    nested_types: usize,
    pieces: usize,
}

/// Whether a validator and a compiler may be let loose on it. Damage is for them to find.
pub(crate) fn weigh(bytes: &[u8]) -> Result<(), Heavy> {
    let mut weight = Weight::default();
    for payload in Parser::new(0).parse_all(bytes) {
        let Ok(payload) = payload else { break };
        weight.add(bytes, &payload);
        weight.check()?;
    }
    Ok(())
}

impl Weight {
    fn add(&mut self, bytes: &[u8], payload: &Payload<'_>) {
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => self.pieces += 1,
            Payload::CodeSectionStart { count, .. } => self.functions += *count as usize,
            Payload::CodeSectionEntry(body) => self.add_function(body),
            Payload::ComponentTypeSection(section) => self.nested_types += nested_types(bytes.get(section.range()).unwrap_or_default()),
            _ => {}
        }
    }

    fn add_function(&mut self, body: &FunctionBody<'_>) {
        let locals = body.get_locals_reader().into_iter().flatten().flatten();
        let locals = locals.fold(0, |sum: usize, (count, _)| sum.saturating_add(count as usize));
        self.function = self.function.max(body.range().len());
        self.locals = self.locals.max(locals);
        self.all_locals = self.all_locals.saturating_add(locals);
    }

    fn check(&self) -> Result<(), Heavy> {
        let bounds = [
            ("functions", self.functions, FUNCTIONS),
            ("bytes in one function", self.function, FUNCTION),
            ("locals in one function", self.locals, LOCALS),
            ("locals in its functions", self.all_locals, ALL_LOCALS),
            ("types within types", self.nested_types, NESTED_TYPES),
            ("modules and components within it", self.pieces, PIECES),
        ];
        let heavy = bounds.into_iter().find(|(_, size, most)| size > most);
        heavy.map_or(Ok(()), |(what, size, most)| Err(Heavy { what, size, most }))
    }
}

/// No fewer than there are: each begins with these two bytes, which may also occur in a name. To count exactly would need the
/// reader that is to be protected.
fn nested_types(section: &[u8]) -> usize {
    section.windows(2).filter(|it| matches!(it, [0x01, 0x41 | 0x42])).count()
}
