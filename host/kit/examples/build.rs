//! Builds a guard without the command line: `cargo run -p aegis-kit --example build -- DIR|FILE OUT.wasm`. Beside the
//! component it writes `OUT.wasm.sha256`, for `sha256sum -c`.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [source, out] = args.as_slice() else { return Err("usage: build DIR|FILE OUT.wasm".into()) };
    let out = Path::new(out);
    let name = out.file_name().and_then(|it| it.to_str()).ok_or("OUT.wasm has no name")?;
    let built = aegis_kit::build(source.as_ref(), &mut |step| eprintln!("{step}"))?;
    std::fs::write(out, &built.component)?;
    std::fs::write(out.with_file_name(format!("{name}.sha256")), format!("{}  {name}\n", built.sha256))?;
    println!("{}: {} bytes, imports {:?}", out.display(), built.component.len(), built.imports);
    Ok(())
}
