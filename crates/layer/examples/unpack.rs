//! Unpacks a layer and says how long it took: `unpack STORE FILE none|gzip|zstd [sync]`. The store is left with it.

use layer::{Layers, Limits};
use oci::image::Compression;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, store, file, kind, rest @ ..] = args.as_slice() else {
        return Err("unpack STORE FILE none|gzip|zstd [sync]".into());
    };
    let kind = match kind.as_str() {
        "gzip" => Compression::Gzip,
        "zstd" => Compression::Zstd,
        _ => Compression::None,
    };
    let layers = Layers::open(Path::new(store))?;
    let limits = Limits { ratio: 2000, ..Limits::default() };
    let start = Instant::now();
    let applied = layers.apply(None, &mut std::fs::File::open(file)?, kind, None, &limits)?;
    println!("{} {} bytes: {:?}", applied.diff_id, applied.size, start.elapsed());
    if rest.first().is_some_and(|word| word == "sync") {
        let start = Instant::now();
        layers.sync()?;
        println!("sync: {:?}", start.elapsed());
    }
    Ok(())
}
