//! Core modules and components, held against the contract. No toolchain and no engine.

use crate::KitError;
use wasmparser::{KnownCustom, Parser, Payload};
use wit_component::{ComponentEncoder, DecodedWasm, StringEncoding};
use wit_parser::{Resolve, WorldId, WorldKey};

/// The contract, so that the binary needs no file beside it.
pub(crate) const WIT: &str = include_str!("../../../wit/guard.wit");
const SCANNER: &str = "aegis:guard/scanner@";
const STREAM_SCANNER: &str = "aegis:guard/stream-scanner@";
/// Takes the place of a system for modules that were compiled for one.
const ADAPTER: &str = include_str!("adapter.wat");
/// Holds types only: nothing that a host would have to provide.
const TYPES: &str = "aegis:guard/types@";

/// What a core module says about itself.
#[derive(Default)]
struct Core {
    imports: Vec<String>,
    exports: Vec<String>,
    /// Whether it carries the types of its exports, as modules made with `wit-bindgen` do.
    typed: bool,
}

/// Makes a component of a core module.
pub(crate) fn of_core(module: &[u8]) -> Result<Vec<u8>, KitError> {
    let core = inspect(module).map_err(|error| KitError::NotWasm(error.to_string()))?;
    if let Some(wasi) = core.imports.iter().find(|it| it.starts_with("wasi_unstable.")) {
        return Err(KitError::Wasi(wasi.clone()));
    }
    let functions = core.exports.iter().map(|it| it.split('#').next().unwrap_or(it));
    version(functions).ok_or_else(|| KitError::NotAGuard(core.exports.clone()))??;
    encode(module, &core)
}

fn inspect(module: &[u8]) -> wasmparser::Result<Core> {
    let mut core = Core::default();
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import?;
                    core.imports.push(format!("{}.{}", import.module, import.name));
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    core.exports.push(export?.name.to_owned());
                }
            }
            Payload::CustomSection(section) if matches!(section.as_known(), KnownCustom::Unknown) => {
                core.typed |= section.name().starts_with("component-type");
            }
            _ => {}
        }
    }
    Ok(core)
}

/// Names and debug information are for debuggers: nobody debugs in a sandbox, and paths of the building machine are among them.
fn is_for_debuggers(name: &str) -> bool {
    name == "name" || name.starts_with(".debug") || name == "sourceMappingURL" || name == "external_debug_info"
}

/// The module without what is for debuggers; all else byte for byte.
fn stripped(module: &[u8]) -> wasmparser::Result<Vec<u8>> {
    let mut out = module.get(..8).unwrap_or_default().to_owned();
    let mut at = out.len();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        let Some((_, range)) = payload.as_section() else { continue };
        // With the section's own header, which stands before what is in it.
        let whole = module.get(at..range.end).unwrap_or_default();
        at = range.end;
        if !matches!(&payload, Payload::CustomSection(it) if is_for_debuggers(it.name())) {
            out.extend_from_slice(whole);
        }
    }
    Ok(out)
}

fn encode(module: &[u8], core: &Core) -> Result<Vec<u8>, KitError> {
    let mut module = stripped(module).map_err(|error| KitError::NotWasm(error.to_string()))?;
    if !core.typed {
        let (resolve, world) = contract(&core.exports);
        let embedded = wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8);
        embedded.map_err(|error| KitError::Module(format!("{error:#}")))?;
    }
    let failed = |error| KitError::Module(format!("{error:#}"));
    let mut encoder = ComponentEncoder::default().validate(true).module(&module).map_err(failed)?;
    if core.imports.iter().any(|it| it.starts_with("wasi_snapshot_preview1.")) {
        let adapter = wat::parse_str(ADAPTER).expect("the embedded adapter parses: a test says so");
        encoder = encoder.adapter("wasi_snapshot_preview1", &adapter).map_err(failed)?;
    }
    encoder.encode().map_err(failed)
}

/// The version of the scanner among these exports, if there is one, and if this version of the kit takes it.
fn version<'a>(mut exports: impl Iterator<Item = &'a str>) -> Option<Result<&'a str, KitError>> {
    let version = exports.find_map(|it| it.strip_prefix(SCANNER))?;
    Some(if version.starts_with("0.1.") { Ok(version) } else { Err(KitError::Version(format!("{SCANNER}{version}"))) })
}

/// The contract, and the world of it that has these exports.
fn contract(exports: &[String]) -> (Resolve, WorldId) {
    let streaming = exports.iter().any(|it| it.starts_with(STREAM_SCANNER));
    let mut resolve = Resolve::default();
    let package = resolve.push_str("guard.wit", WIT).expect("the embedded contract parses: a test says so");
    let world = resolve
        .select_world(&[package], Some(if streaming { "streaming-guard" } else { "guard" }))
        .expect("both worlds are in the contract");
    (resolve, world)
}

/// Checks that this is a guard's component; what it imports.
pub(crate) fn check(component: &[u8]) -> Result<Vec<String>, KitError> {
    let decoded = wit_component::decode(component).map_err(|error| KitError::Component(format!("{error:#}")))?;
    let (resolve, world) = match decoded {
        DecodedWasm::Component(resolve, world) => (resolve, world),
        DecodedWasm::WitPackage(..) => return Err(KitError::NotAGuard(vec!["types only".into()])),
    };
    let names = |keys: &mut dyn Iterator<Item = &WorldKey>| keys.map(|it| resolve.name_world_key(it)).collect::<Vec<String>>();
    let exports = names(&mut resolve.worlds[world].exports.keys());
    let mut imports = names(&mut resolve.worlds[world].imports.keys());
    imports.retain(|it| !it.starts_with(TYPES));
    let version = version(exports.iter().map(String::as_str)).ok_or_else(|| KitError::NotAGuard(exports.clone()))??;
    // Held against the contract in full where that can be done without an engine: a later 0.1.x has other names, and imports are the host's to judge.
    if version == "0.1.0" && imports.is_empty() {
        let (resolve, world) = contract(&exports);
        wit_component::targets(&resolve, world, component).map_err(|error| KitError::Component(format!("{error:#}")))?;
    }
    Ok(imports)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::from_bytes;

    /// The smallest module that fits the contract: it would trap at every call.
    const GUARD: &str = r#"(module
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "aegis:guard/scanner@0.1.0#describe") (result i32) unreachable)
        (func (export "aegis:guard/scanner@0.1.0#configure") (param i32 i32) (result i32) unreachable)
        (func (export "aegis:guard/scanner@0.1.0#scan") (param i32) (result i32) unreachable))"#;

    /// A component made from [`GUARD`] by someone whose contract reads otherwise.
    fn foreign(ours: &str, theirs: &str) -> Vec<u8> {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("guard.wit", &WIT.replace(ours, theirs)).unwrap();
        let world = resolve.select_world(&[package], Some("guard")).unwrap();
        let module = GUARD.replace("aegis:guard/scanner@0.1.0", &resolve.id_of_name(package, "scanner"));
        let mut module = wat::parse_str(module).unwrap();
        wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
    }

    #[test]
    fn a_module_that_fits_becomes_a_component_without_imports() {
        let built = from_bytes(GUARD.as_bytes()).unwrap();
        assert!(built.core_size.is_some() && built.imports.is_empty() && Parser::is_component(&built.component));
        let again = from_bytes(&built.component).unwrap();
        assert_eq!((again.component, again.sha256, again.core_size), (built.component, built.sha256, None));
    }

    #[test]
    fn what_is_for_debuggers_is_left_out_and_nothing_else() {
        let custom = |name: &str| format!(r#"(@custom "{name}" "/home/somebody/guard.c")"#);
        let with = |names: &[&str]| {
            let sections: String = names.iter().map(|it| custom(it)).collect();
            wat::parse_str(GUARD.strip_suffix(')').unwrap().to_owned() + &sections + ")").unwrap()
        };
        let bare = wat::parse_str(GUARD).unwrap();
        assert_eq!(stripped(&bare).unwrap(), bare);
        assert_eq!(stripped(&with(&[".debug_line", "sourceMappingURL", "external_debug_info"])).unwrap(), bare);
        assert_eq!(stripped(&with(&["producers2"])).unwrap(), with(&["producers2"]));
        let named = wat::parse_str(GUARD.replace("(memory (export", "(memory $my_memory (export")).unwrap();
        assert!(named.len() > bare.len() && stripped(&named).unwrap() == bare);
    }

    #[test]
    fn a_module_for_wasi_becomes_a_component_without_imports() {
        let calls = |name: &str, parameters: &str| {
            let import = format!(r#"(import "wasi_snapshot_preview1" "{name}" (func (param {parameters}) (result i32))) (memory"#);
            from_bytes(GUARD.replacen("(memory", &import, 1).as_bytes())
        };
        for (name, parameters) in [("fd_write", "i32 i32 i32 i32"), ("clock_time_get", "i32 i64 i32"), ("random_get", "i32 i32")] {
            let built = calls(name, parameters).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(built.imports, Vec::<String>::new(), "{name}");
        }
        let error = calls("fd_fly", "i32").map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("fd_fly"), "{error}");
    }

    #[test]
    fn the_adapter_has_all_of_preview_1() {
        let adapter = inspect(&wat::parse_str(ADAPTER).unwrap()).unwrap();
        assert_eq!((adapter.imports, adapter.exports.len()), (vec!["env.memory".to_owned()], 47));
    }

    #[test]
    fn a_streaming_guard_is_a_guard() {
        let stream = r#"(func (export "aegis:guard/stream-scanner@0.1.0#open") (param i32) (result i32) unreachable)
            (func (export "aegis:guard/stream-scanner@0.1.0#push") (param i32 i32) (result i32) unreachable)
            (func (export "aegis:guard/stream-scanner@0.1.0#close") (result i32) unreachable))"#;
        let module = GUARD.strip_suffix(')').unwrap().to_owned() + stream;
        let exports = exports_of(&from_bytes(module.as_bytes()).unwrap().component);
        assert!(exports.iter().any(|it| it.starts_with(STREAM_SCANNER)), "{exports:?}");
    }

    fn exports_of(component: &[u8]) -> Vec<String> {
        let DecodedWasm::Component(resolve, world) = wit_component::decode(component).unwrap() else { panic!("no component") };
        resolve.worlds[world].exports.keys().map(|it| resolve.name_world_key(it)).collect()
    }

    #[test]
    fn what_is_no_guard_is_refused_with_the_reason() {
        let without = |name: &str| GUARD.lines().filter(|line| !line.contains(name)).collect::<Vec<_>>().join("\n");
        for (bytes, expected) in [
            ("hello".to_owned(), "no WebAssembly"),
            ("(module".into(), "no WebAssembly"),
            ("(module)".into(), "exports nothing"),
            (r#"(module (func (export "run")))"#.into(), "exports run"),
            ("(component)".into(), "exports nothing"),
            (
                r#"(component (instance $i) (export "other:contract/scanner@0.1.0" (instance $i)))"#.into(),
                "exports other:contract/scanner@0.1.0",
            ),
            (without("#configure"), "configure"),
            (GUARD.replace("(param i32 i32)", "(param i32)"), "configure"),
            (without("cabi_realloc"), "realloc"),
            (GUARD.replace("@0.1.0", "@0.2.0"), "built for aegis:guard/scanner@0.2.0"),
            (GUARD.replacen("(memory", r#"(import "env" "clock" (func)) (memory"#, 1), "env"),
            (
                GUARD.replacen("(memory", r#"(import "wasi_unstable" "fd_write" (func (param i32 i32 i32 i32) (result i32))) (memory"#, 1),
                "wasi_unstable.fd_write",
            ),
        ] {
            let error = from_bytes(bytes.as_bytes()).expect_err(&bytes).to_string();
            assert!(error.contains(expected), "{bytes}: {error}");
        }
    }

    /// Found by fuzzing: a function under the name of an interface.
    #[test]
    fn a_component_at_which_the_tools_panic_is_refused() {
        let bytes = br#"(component (import "wasi:filesystem/run-shell" (func (param "command" string))))"#;
        assert!(
            std::panic::catch_unwind(|| wit_component::decode(&wat::parse_bytes(bytes).unwrap()).is_ok()).is_err(),
            "they no longer do"
        );
        let error = from_bytes(bytes).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("do not know what they met"), "{error}");
    }

    #[test]
    fn a_component_for_another_contract_is_refused() {
        for (ours, theirs, expected) in [
            (
                "record label { key: string, value: string }",
                "record label { key: string, value: string, weight: u32 }",
                "does not fit the contract",
            ),
            ("package aegis:guard@0.1.0", "package aegis:guard@0.2.0", "built for aegis:guard/scanner@0.2.0"),
            ("package aegis:guard@0.1.0", "package aegis:warden@0.1.0", "aegis:warden/scanner@0.1.0"),
        ] {
            let error = from_bytes(&foreign(ours, theirs)).map(|_| ()).expect_err(theirs).to_string();
            assert!(error.contains(expected), "{theirs}: {error}");
        }
    }

    #[test]
    fn a_later_patch_of_the_contract_is_taken() {
        assert!(from_bytes(&foreign("package aegis:guard@0.1.0", "package aegis:guard@0.1.7")).is_ok());
    }
}
