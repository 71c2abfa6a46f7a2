//! WebAssembly by hand: the text is the module, and no tool is needed.

use super::{Kit, Project};
use crate::KitError;

pub(crate) const KIT: Kit = Kit {
    name: "wat",
    title: "WebAssembly text",
    recognises: |names| names.ends(&[".wat"]) && !names.has("Cargo.toml") && !names.has("package.json"),
    build,
};

fn build(project: &Project, _: &mut dyn FnMut(&str)) -> Result<Vec<u8>, KitError> {
    crate::read(&project.folder.join(project.source(&[".wat"])?))
}

#[cfg(test)]
mod tests {
    use crate::component::WIT;
    use wit_parser::{Resolve, SizeAlign, Type, TypeDefKind};

    const LAYOUT: &str = include_str!("../../../../sdk/wat/layout.md");

    /// The line of the table that tells of this type: its size, its fields.
    fn row(name: &str) -> (usize, &'static str) {
        let start = format!("| `{name}` | ");
        let line = LAYOUT.lines().find_map(|line| line.strip_prefix(&*start)).unwrap_or_else(|| panic!("no row for {name}"));
        let (size, fields) = line.split_once(" | ").unwrap();
        (size.parse().unwrap(), fields)
    }

    /// The SDKs of C, Zig, Nim and Go have the same numbers, and refuse to compile or to pass their cases with others.
    #[test]
    fn the_layout_is_the_contracts() {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("guard.wit", WIT).unwrap();
        let mut sizes = SizeAlign::default();
        sizes.fill(&resolve);
        let types = &resolve.interfaces[resolve.packages[package].interfaces["types"]].types;
        let mut rows = 0;
        for (name, id) in types {
            let fields = match &resolve.types[*id].kind {
                TypeDefKind::Record(record) => &record.fields[..],
                TypeDefKind::Variant(_) => &[],
                _ => continue,
            };
            if ["part-place", "arguments-place", "principal"].contains(&name.as_str()) {
                continue; // told where they stand
            }
            let (size, told) = row(name);
            assert_eq!(size, sizes.size(&Type::Id(*id)).size_wasm32(), "{name}");
            let offsets = sizes.field_offsets(fields.iter().map(|it| &it.ty));
            for (field, (offset, _)) in fields.iter().zip(offsets).filter(|(it, _)| it.name != "principal") {
                let offset = offset.size_wasm32();
                let written = [format!("{} {offset}", field.name), format!("{}? {offset}", field.name)];
                assert!(written.iter().any(|it| told.contains(it)), "{name}: {} stands at {offset}: {told}", field.name);
            }
            rows += 1;
        }
        assert_eq!(rows, 14);
    }
}
